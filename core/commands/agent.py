"""Agents: who can work. An agent is an adapter (a kind of program) with a model, a role and limits of its own."""

import difflib
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import asyncpg

from config.errors import ConflictError, NotFoundError, UsageError
from config.paths import Paths
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug
from storage.database import Database, Principal, Role
from storage.queries import agents as rows
from storage.queries.settings import take_mark

Name = Annotated[Slug, "name of the agent"]
Most = Annotated[int, Within(ge=1, le=1000)]
_CLEARABLE = Literal["model", "command", "role", "capability", "max-parallel", "env"]
_CLEARED: Mapping[str, tuple[str, Any]] = {
    "model": ("model", None),
    "command": ("command", None),
    "role": ("role", None),
    "capability": ("capabilities", []),
    "max-parallel": ("max_parallel", None),
    "env": ("env", {}),
}


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent. ``running``: its runs that have not ended; ``api_key`` is shown once, when it was made."""

    name: str
    id: UUID
    adapter: str
    model: str | None
    command: str | None
    role: str | None
    capabilities: tuple[str, ...]
    status: Literal["enabled", "disabled"]
    max_parallel: int | None
    running: int
    env: Mapping[str, str]
    has_key: bool
    last_seen: datetime | None
    created_at: datetime
    updated_at: datetime
    api_key: str | None = None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("status", "status", "state"),
        Column("adapter", "adapter"),
        Column("model", "model"),
        Column("running", "running", "count"),
        Column("at most", "max_parallel", "count"),
        Column("role", "role"),
        Column("capabilities", "capabilities"),
    )
    empty: ClassVar[str] = "no agents; add one with: qd agent add NAME --adapter ADAPTER (see `qd agent adapters`)"


@dataclass(frozen=True, slots=True)
class AdapterView:
    """A kind of agent program; ``status`` is ``missing`` where its program is not installed."""

    name: str
    title: str
    status: Literal["ok", "missing"]
    program: str | None
    capabilities: tuple[str, ...]
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("status", "status", "state"),
        Column("title", "title"),
        Column("program", "program"),
        Column("can", "capabilities"),
    )


@command("agent.add", role=Role.SUPERVISOR)
async def add_agent(
    ctx: Context,
    name: Name,
    *,
    adapter: Annotated[Line, "kind of program, see `qd agent adapters`"],
    model: Annotated[Line | None, "model it is to use"] = None,
    command: Annotated[Line | None, "what the adapter `command` runs, split like a shell does", Metavar("CMD")] = None,
    role: Annotated[Line | None, "role profile that it works by"] = None,
    capability: Annotated[tuple[Slug, ...], "what it can do, for tasks that ask for it"] = (),
    max_parallel: Annotated[Most | None, "runs at a time; without it, as many as the engines allow"] = None,
    env: Annotated[tuple[Line, ...], "variable of its environment", Metavar("NAME=VALUE")] = (),
    disabled: Annotated[bool, "add it switched off"] = False,
    api_key: Annotated[bool, "make a key for work over HTTP; it is shown this once"] = False,
) -> Agent:
    """Add an agent.

    The adapter must exist; whether its program is installed, `qd doctor` says. Keys of model providers do not belong
    into --env: agents reach models through the gateway.
    """
    _check_adapter(ctx.paths, ctx.environ, adapter, command)
    key = _new_key() if api_key else None
    columns: dict[str, Any] = {
        "adapter": adapter,
        "model": model,
        "command": command,
        "role": role,
        "capabilities": list(dict.fromkeys(capability)),
        "max_parallel": max_parallel,
        "env": _variables(env),
        "enabled": not disabled,
        "api_key_hash": key and hash_key(key),
    }
    async with ctx.db.transaction(ctx.who) as connection:
        if not await rows.insert_agent(connection, name, columns):
            raise ConflictError(
                f"there is an agent {name} already", f"change it with `qd agent edit {name}`, or choose another name"
            )
        added = await _find(connection, name)
    await _ring(ctx, name)
    return _view(added, key)


@command("agent.list", role=Role.VIEWER)
async def list_agents(ctx: Context) -> list[Agent]:
    """List the agents."""
    async with ctx.db.transaction(ctx.who) as connection:
        return [_view(row) for row in await rows.list_agents(connection)]


@command("agent.show", role=Role.VIEWER)
async def show_agent(ctx: Context, name: Name) -> Agent:
    """Show an agent."""
    async with ctx.db.transaction(ctx.who) as connection:
        return _view(await _find(connection, name))


@command("agent.edit", role=Role.SUPERVISOR)
async def edit_agent(
    ctx: Context,
    name: Name,
    *,
    adapter: Annotated[Line | None, "kind of program"] = None,
    model: Annotated[Line | None, "model it is to use"] = None,
    command: Annotated[Line | None, "what the adapter `command` runs", Metavar("CMD")] = None,
    role: Annotated[Line | None, "role profile that it works by"] = None,
    capability: Annotated[tuple[Slug, ...], "what it can do; replaces all that were named before"] = (),
    max_parallel: Annotated[Most | None, "runs at a time"] = None,
    env: Annotated[tuple[Line, ...], "variable of its environment; replaces all before", Metavar("NAME=VALUE")] = (),
    api_key: Annotated[bool, "make a new key, shown this once; the old one is dead"] = False,
    clear: Annotated[tuple[_CLEARABLE, ...], "field to empty", Metavar("FIELD")] = (),
) -> Agent:
    """Change an agent. Runs that have begun go on as they began."""
    given = {"adapter": adapter, "model": model, "command": command, "role": role, "max_parallel": max_parallel}
    columns: dict[str, Any] = {column: value for column, value in given.items() if value is not None}
    if capability:
        columns["capabilities"] = list(dict.fromkeys(capability))
    if env:
        columns["env"] = _variables(env)
    for field in clear:
        column, nothing = _CLEARED[field]
        if column in columns:
            raise UsageError(f"{field} is both given and cleared", "say one of the two")
        columns[column] = nothing
    key = _new_key() if api_key else None
    if key:
        columns["api_key_hash"] = hash_key(key)
    if not columns:
        raise UsageError(f"nothing to change in agent {name}", "see `qd agent edit --help`")
    async with ctx.db.transaction(ctx.who) as connection:
        before = await _find(connection, name, lock=True)
        _check_adapter(ctx.paths, ctx.environ, adapter or before.adapter, columns.get("command", before.command))
        await rows.update_agent(connection, name, columns)
        after = await _find(connection, name)
    await _ring(ctx, name)
    return _view(after, key)


@command("agent.enable", role=Role.SUPERVISOR, says="agent {name} is {status}")
async def enable_agent(ctx: Context, name: Name) -> Agent:
    """Let an agent work (again)."""
    return await _switch(ctx, name, enabled=True)


@command("agent.disable", role=Role.SUPERVISOR, says="agent {name} is {status}")
async def disable_agent(ctx: Context, name: Name) -> Agent:
    """Give an agent no more work. What it is at goes on."""
    return await _switch(ctx, name, enabled=False)


@command("agent.remove", role=Role.SUPERVISOR, destructive=True, says="agent {name} is removed")
async def remove_agent(ctx: Context, name: Name) -> Agent:
    """Remove an agent. Its past runs stay; refused while something relies on it."""
    async with ctx.db.transaction(ctx.who) as connection:
        row = await _find(connection, name, lock=True)
        tasks, runs, projects = await rows.uses_of_agent(connection, name)
        in_the_way = [
            f"{count} {what}{'' if count == 1 else 's'}"
            for count, what in ((runs, "run"), (tasks, "open task"), (projects, "project"))
            if count
        ]
        if in_the_way:
            raise ConflictError(
                f"agent {name} is in use: {', '.join(in_the_way)}",
                f"disable it with `qd agent disable {name}`, or change those",
            )
        await rows.delete_agent(connection, name)
    await _ring(ctx, name)
    return _view(row)


@command("agent.adapters", role=Role.VIEWER, offline=True)
async def list_adapters(ctx: Context) -> list[AdapterView]:
    """List the kinds of agent programs, and which are installed here."""
    from core.agents.adapter import adapters

    views = []
    for adapter in adapters(ctx.paths, ctx.environ):
        program = adapter.find(ctx.environ)
        status: Literal["ok", "missing"] = "ok" if program else "missing"
        can = tuple(sorted(adapter.capabilities))
        views.append(AdapterView(adapter.name, adapter.title, status, str(program) if program else None, can))
    return views


async def ensure_default_agents(db: Database, who: Principal, paths: Paths, environ: Mapping[str, str]) -> None:
    """Add the agents that need no choice: the built-in one, and Claude Code where it is installed.

    Only where a service offers models that they can call: an agent without one would take tasks and fail each. Once in
    the life of a database, and only while there is no agent: what a person removed stays removed.
    """
    from core.agents.adapter import load_adapter
    from core.agents.declaration import load_declaration
    from core.budget.engine_side import protocol_of
    from storage.queries.budget import services

    async with db.transaction(who) as connection:
        offered = {protocol_of(service.provider) for service in await services(connection)}
        able = [
            (name, adapter)
            for name, adapter in (("builtin", "builtin"), ("claude", "claude-code"))
            if load_declaration(adapter, paths).speaks & offered and load_adapter(adapter, paths, environ).find(environ)
        ]
        if not able or not await take_mark(connection, "agents-seeded") or await rows.agent_names(connection):
            return
        for name, adapter in able:
            await rows.insert_agent(connection, name, {"adapter": adapter})
    await db.ring("agent")


def hash_key(key: str) -> str:
    """What is kept of an API key. It has 256 random bits, so that a plain hash cannot be turned back."""
    return hashlib.sha256(key.encode()).hexdigest()


def _new_key() -> str:
    return f"qda_{secrets.token_urlsafe(32)}"


async def _find(connection: asyncpg.Connection, name: str, *, lock: bool = False) -> rows.AgentRow:
    row = await rows.find_agent(connection, name, lock=lock)
    if row is None:
        near = difflib.get_close_matches(name, await rows.agent_names(connection), 1)
        raise NotFoundError(f"there is no agent {name}", f"did you mean {near[0]}?" if near else "see `qd agent list`")
    return row


async def _switch(ctx: Context, name: str, *, enabled: bool) -> Agent:
    async with ctx.db.transaction(ctx.who) as connection:
        await _find(connection, name, lock=True)
        await rows.update_agent(connection, name, {"enabled": enabled})
        row = await _find(connection, name)
    await _ring(ctx, name)
    return _view(row)


async def _ring(ctx: Context, name: str) -> None:
    await ctx.db.ring("agent", f"agent:{name}")


def _view(row: rows.AgentRow, key: str | None = None) -> Agent:
    values = {field.name: getattr(row, field.name) for field in fields(Agent) if hasattr(row, field.name)}
    return Agent(**values, status="enabled" if row.enabled else "disabled", api_key=key)


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not (name.isascii() and name.isidentifier()):
            raise UsageError(f"env {pair!r} sets no variable", "write NAME=VALUE")
        if name.startswith("QD_"):
            raise UsageError(f"env {name} belongs to Quarterdeck", "choose another name")
        found[name] = value
    return found


def _check_adapter(paths: Paths, environ: Mapping[str, str], name: str, command: str | None) -> None:
    """Raise UsageError for an adapter that does not exist, or a command that it needs or cannot use."""
    import shlex

    from core.agents.adapter import load_adapter

    try:
        adapter = load_adapter(name, paths, environ)
    except NotFoundError as error:
        raise UsageError(error.message, error.hint) from None
    if not adapter.runs_any_command:
        if command:
            raise UsageError(
                f"the adapter {name} takes no command", "leave out --command, or use the adapter `command`"
            )
        return
    if not command:
        raise UsageError(f"the adapter {name} needs to know what to run", "add --command CMD")
    try:
        shlex.split(command)
    except ValueError as error:
        raise UsageError(f"command {command!r} cannot be split into words: {error}", "balance its quotes") from None
