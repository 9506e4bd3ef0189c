"""Transactions of commands: the words of the database's refusals, and another try where two of them met."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from config.errors import ConflictError, NotFoundError
from storage.database import Database, Principal

T = TypeVar("T")

_TRIES = 6


async def transact(db: Database, who: Principal, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Run ``work`` in a transaction of ``who`` and commit it.

    A deadlock is no fault of the caller (a person rewires tasks while the engine ends one of them): the work, which has
    been rolled back whole, is tried again. Raises :class:`NotFoundError` and :class:`ConflictError` in the database's own words.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            async with db.transaction(who) as connection:
                with refusals():
                    return await work(connection)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            if attempt == _TRIES:
                raise
            await asyncio.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - no secret
    raise AssertionError("unreachable")


_LISTED = frozenset({"agent", "project", "task"})
"""Nouns of the schema's words that a command lists."""


@contextmanager
def refusals() -> Iterator[None]:
    """Translate what the functions and keys of the schema raise: QD404, QD409, a name that is taken."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise ConflictError(_taken(error), "choose another name, or change the one that has it") from error
    except asyncpg.ForeignKeyViolationError as error:
        raise ConflictError("something that this refers to was deleted at the same moment", "try again") from error
    except asyncpg.PostgresError as error:
        if error.sqlstate == "QD404":
            noun = str(error.message).split(" ")[1:2]
            hint = f"see `qd {noun[0]} list`" if noun and noun[0] in _LISTED else ""
            raise NotFoundError(f"there is {error.message}", hint) from error
        if error.sqlstate == "QD409":
            raise ConflictError(str(error.message), _remedy(str(error.message))) from error
        raise


def _taken(error: asyncpg.UniqueViolationError) -> str:
    """Whose name is taken, by the constraint: the value itself is hidden from roles that may not read every row."""
    table = str(error.table_name or "thing")
    columns = re.sub(rf"^{table}_|_?p?key$", "", str(error.constraint_name or "")).replace("_", " ")
    return f"there is a {table} with the same {columns or 'name'} already"


def _remedy(message: str) -> str:
    """What to do about the task that the schema's words end with."""
    task = re.search(r"#(\d+)(?: did not succeed|, which did not succeed)", message)
    return f"`qd task retry {task[1]}` starts it again; or do without it" if task else ""
