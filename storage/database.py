"""The pool, and transactions that are bound to a role.

Nobody reaches the database but through :class:`Database`. Each transaction takes on a database role and names its actor
before its first statement; grants, row level security and the audit triggers do the rest. The engine, whose
actor never changes and whose claims are hot, opens a pool that is bound as a whole and saves the round trip.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from config.errors import DatabaseGoneError, ForbiddenError

CHANNEL = "qd"
"""The one NOTIFY channel. The payload is a space-separated list of topics such as ``task run:17``."""


class Role(StrEnum):
    """Who acts. Ordered by what they may do; ``engine`` is the daemon's own."""

    VIEWER = "viewer"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"
    ENGINE = "engine"

    @property
    def database_role(self) -> str:
        """The Postgres role that a transaction takes on."""
        return f"qd_{self.value}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a transaction acts for: ``actor`` goes into the audit trail, ``role`` decides what it may do.

    An agent acts for a ``run`` and its ``task`` (their numbers) in a ``project``, of which alone the database shows it anything.
    """

    actor: str
    role: Role
    project: str | None = None
    run: int | None = None
    task: int | None = None


class Database:
    """A pool of connections and the ways to use it."""

    def __init__(self, pool: asyncpg.Pool, dsn: str, bound: Principal | None) -> None:
        self._pool = pool
        self.dsn = dsn
        self._bound = bound

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        bound: Principal | None = None,
        most: int = 4,
        least: int = 1,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> "Database":
        """Connect. ``bound`` fixes role and actor for every connection; ``timeout`` in seconds.

        Raises :class:`DatabaseGoneError` when no server answers.
        """
        settings = {"application_name": "quarterdeck", "jit": "off"}
        if bound:
            settings |= {"role": bound.role.database_role, "qd.actor": bound.actor}
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=least,
                max_size=most,
                timeout=timeout,
                command_timeout=60,
                init=_prepare_connection,
                reset=_no_reset,
                server_settings=settings,
            )
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ) as error:
            raise unreachable(error) from error
        return cls(pool, dsn, bound)

    async def warm(self) -> None:
        """Connect as often as the pool may, ahead of the moment when all of it is wanted at once. Raises :class:`DatabaseGoneError`."""
        async with AsyncExitStack() as stack:
            await asyncio.gather(
                *(stack.enter_async_context(self.connection()) for _ in range(self._pool.get_max_size()))
            )

    async def close(self) -> None:
        """Close the pool, within a few seconds even when a connection hangs."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self, who: Principal) -> AsyncIterator[asyncpg.Connection]:
        """A transaction in the role of ``who``. The caller's errors roll it back."""
        async with self.connection() as connection, connection.transaction():
            if who != self._bound:
                await _act_as(connection, who)
            try:
                yield connection
            except asyncpg.InsufficientPrivilegeError as error:
                raise ForbiddenError(
                    f"role {who.role} may not do that", "ask someone with a higher role, or unset QD_ROLE"
                ) from error

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection beside the pool, in the right of who logs in: for what the owner of the schema alone may do and what takes long."""
        try:
            connection = await asyncpg.connect(
                self.dsn, timeout=10, server_settings={"application_name": "quarterdeck"}
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise unreachable(error) from error
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A bare connection: single statements in the role that the pool is bound to."""
        try:
            async with AsyncExitStack() as stack:
                try:
                    connection = await stack.enter_async_context(self._pool.acquire(timeout=10))
                except asyncpg.InsufficientResourcesError:
                    raise
                except asyncpg.PostgresError as error:  # whatever a server says that lets nobody in
                    raise unreachable(error) from error
                yield connection
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.ConnectionDoesNotExistError,
        ) as error:
            raise unreachable(error) from error
        except asyncpg.InsufficientResourcesError as error:
            text = " ".join(str(error).split())
            raise DatabaseGoneError(
                f"the database has no room to go on ({text})", "make room; see `qd doctor`"
            ) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if isinstance(error, ValueError):  # a value that no server could take: the caller's, not the connection's
                raise
            # The second is what asyncpg says of a connection whose server has said farewell and not hung up yet.
            raise unreachable(error) from error

    async def ring(self, *topics: str) -> None:
        """Ring the bell for whoever shows or works on ``topics``; after the commit, never inside it."""
        if topics:
            async with self.connection() as connection:
                await ring(connection, topics)


async def ring(connection: asyncpg.Connection, topics: Sequence[str]) -> None:
    """Notify, at most 7,900 bytes at a time: a payload of NOTIFY holds less than 8,000."""
    payload = ""
    for topic in dict.fromkeys(topics):
        if len(payload) + len(topic) > 7900:
            await connection.execute("select pg_notify($1, $2)", CHANNEL, payload.strip())
            payload = ""
        payload += f"{topic} "
    await connection.execute("select pg_notify($1, $2)", CHANNEL, payload.strip())


def unreachable(error: BaseException) -> DatabaseGoneError:
    """The one sentence for a database that does not answer."""
    text = " ".join(str(error).split()) or type(error).__name__
    return DatabaseGoneError(f"the database cannot be reached ({text})", "see `qd doctor`")


async def _act_as(connection: asyncpg.Connection, who: Principal) -> None:
    """Take on role and name, and where it is an agent its project and run, until the end of the transaction."""
    if who.role is Role.AGENT:
        await connection.execute(
            """select set_config('role', $1, true), set_config('qd.actor', $2, true), set_config('qd.project', $3, true),
                      set_config('qd.run', $4, true)""",
            who.role.database_role,
            who.actor,
            who.project or "",
            str(who.run or ""),
        )
        return
    await connection.execute(
        "select set_config('role', $1, true), set_config('qd.actor', $2, true)", who.role.database_role, who.actor
    )


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    """Teach the connection JSON. In binary (a version byte, then the text), because COPY takes no other format."""
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + _dump_json(value).encode("utf-8", "replace"),
        decoder=lambda data: json.loads(data[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _no_reset(connection: asyncpg.Connection) -> None:
    """Nothing of ours outlives its transaction, so that the round trip of a reset is saved."""


def _dump_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if "\\u0000" in text:  # Postgres stores no NUL; the slow way is for the rare text that may hold one
        text = json.dumps(_without_nul(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value
