"""Secrets: keys of services and of integrations, per project and shared. They go in; nothing shows them."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from config.errors import NotFoundError, UsageError
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Line, Slug
from core.secrets import SHARED, open_store, service_key
from storage.database import Role
from storage.queries import secrets, services

LONGEST = 20_000
"""Characters of a secret."""
SERVICE_KEYS = service_key("")
"""How the names of the keys of services begin."""

Name = Annotated[Line, "name of the secret; the key of a service is service.NAME"]
Project = Annotated[Slug | None, "project that alone may use it; without it, all do"]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that exists. What it is, nothing shows."""

    name: str
    project: str | None
    updated_at: datetime | None
    place: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("project", "project"),
        Column("set", "updated_at", "time"),
        Column("kept in", "place"),
    )
    empty: ClassVar[str] = "no secrets; set one with: qd secret set NAME (its value is asked for, or read from stdin)"


@command("secret.set", role=Role.SUPERVISOR, says="secret {name} is set")
async def set_secret(ctx: Context, name: Name, *, project: Project = None) -> Secret:
    """Set a secret. Its value is asked for at a terminal, or read from standard input: never from the command line."""
    _check(name)
    value = await asyncio.to_thread(_read, ctx)
    if name.startswith(SERVICE_KEYS):
        check_key(value)
    store = open_store(ctx.paths, ctx.environ)
    async with ctx.db.transaction(ctx.who) as connection:
        await secrets.mark_secret(connection, project or SHARED, name)
        if name.startswith(SERVICE_KEYS):
            await services.note_key(connection, name.removeprefix(SERVICE_KEYS))
        await asyncio.to_thread(store.put, name, value, project or SHARED)
    await ctx.db.ring("secret", "service", "alert")
    return Secret(name, project, ctx.now(), store.place)


@command("secret.list", role=Role.SUPERVISOR)
async def list_secrets(ctx: Context, *, project: Project = None) -> list[Secret]:
    """List which secrets exist: all, or those that a project may use."""
    place = open_store(ctx.paths, ctx.environ).place
    async with ctx.db.transaction(ctx.who) as connection:
        found = await secrets.list_secrets(connection, project)
    return [Secret(name, owner or None, at, place) for owner, name, at in found]


@command("secret.remove", role=Role.SUPERVISOR, destructive=True, says="secret {name} is removed")
async def remove_secret(ctx: Context, name: Name, *, project: Project = None) -> Secret:
    """Remove a secret. What uses it fails from now on."""
    store = open_store(ctx.paths, ctx.environ)
    async with ctx.db.transaction(ctx.who) as connection:
        marked = await secrets.unmark_secret(connection, project or SHARED, name)
        removed = await asyncio.to_thread(store.remove, name, project or SHARED)
    if not (marked or removed):
        raise NotFoundError(f"there is no secret {name!r}", "see `qd secret list`")
    await ctx.db.ring("secret")
    return Secret(name, project, None, store.place)


def _check(name: str) -> None:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name):
        raise UsageError(f"a secret cannot be called {name!r}", "use letters, digits, '.', '_' and '-'")


def check_key(key: str) -> None:
    """Raise UsageError unless this can be the key of a service: it is sent in a header."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(
            "the key holds a space, a line break or another character that no key has", "copy it once more"
        )


def _read(ctx: Context) -> str:
    if ctx.stdin is not None and not sys.stdin.isatty():
        value = ctx.read("value")
    elif ctx.stdin is not None:
        from getpass import getpass

        value = getpass("value (it is not shown): ")
    else:
        raise UsageError("there is no standard input to read the secret from", "use the command line")
    value = value.strip("\r\n")
    if not value.strip():
        raise UsageError("the secret is empty", "give its value on standard input or at the prompt")
    if len(value) > LONGEST or "\0" in value:
        raise UsageError("the secret is too long or holds a NUL", f"at most {LONGEST} characters are kept")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UsageError("the secret is not valid UTF-8 text", "encode it first, in base64 say")
    return value
