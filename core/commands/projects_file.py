"""Many projects at once: brought up to date, taken in from a ``projects.json``, written to one."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from config.colours import next_colours
from config.errors import QuarterdeckError, UsageError
from config.paths import written_out
from core.commands import project as one
from core.commands.project_views import ImportResult, SyncResult
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Priority, Slug
from storage.database import Role
from storage.queries import projects as rows

_OURS = (
    *("id", "name", "repo", "stack", "priority", "colors", "base", "verify", "max_parallel", "auto_merge"),
    *("merge_method", "agent", "paused"),
)
_MOST_BYTES = 16_000_000


class ColoursEntry(BaseModel):
    """The colours of a project in a file."""

    model_config = ConfigDict(extra="allow")

    primary: one.Colour | None = None
    accent: one.Colour | None = None


class ProjectEntry(BaseModel):
    """A project in a file. What is not listed here is kept and exported again."""

    model_config = ConfigDict(extra="allow")

    repo: Line
    id: Slug | None = None
    name: Line | None = None
    stack: Line | None = None
    priority: Priority | None = None
    colors: ColoursEntry = ColoursEntry()
    base: Line | None = None
    verify: tuple[one.Command, ...] | None = None
    max_parallel: one.Parallel | None = None
    auto_merge: bool | None = None
    merge_method: one.MergeMethod | None = None
    agent: Slug | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class ProjectsFile:
    """All projects, in the form of a ``projects.json``."""

    projects: tuple[Mapping[str, Any], ...]
    prints: ClassVar[str] = "text"

    @property
    def text(self) -> str:
        """The file."""
        return json.dumps({"projects": self.projects}, ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the projects were written to, and how many."""

    file: Path
    projects: int


@command("project.sync", role=Role.SUPERVISOR)
async def sync_projects(
    ctx: Context,
    id: Annotated[Slug | None, "id of the project; without it, all"] = None,  # noqa: A002
) -> list[SyncResult]:
    """Fetch the repositories of projects, cloning again what is gone; the checkouts of people stay as they are.

    The exit code is 1 when one of them failed.
    """
    async with ctx.db.transaction(ctx.who) as connection:
        wanted = [await one.find(connection, id)] if id else await rows.list_projects(connection)
    results = [await _sync(ctx, row) for row in wanted]
    await ctx.db.ring("project", *(f"project:{row.id}" for row in wanted[:100]))
    return results


@command("project.import", role=Role.SUPERVISOR)
async def import_projects(
    ctx: Context, file: Annotated[Line, "a projects.json; '-' reads standard input", Metavar("FILE")]
) -> list[ImportResult]:
    """Take in the projects of a `projects.json`; those that are there already are brought to what it says.

    The file is checked as a whole before anything is changed. Fields that Quarterdeck does not know are kept. Paths
    in it are relative to its folder. The exit code is 1 when one of the projects could not be taken in.
    """
    text, folder = _read(ctx, file)
    entries = _entries(text, file)
    return [await _take_in(ctx, project, entry, folder) for project, entry in entries.items()]


@command("project.export", role=Role.VIEWER)
async def export_projects(
    ctx: Context, file: Annotated[Line | None, "where to; without it, standard output", Metavar("FILE")] = None
) -> ProjectsFile | Exported:
    """Write all projects as a `projects.json`."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = ProjectsFile(tuple(_entry(row) for row in await rows.list_projects(connection)))
    if file is None:
        return found
    path = ctx.cwd / written_out(file)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(found.text, "utf-8")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose another file") from error
    return Exported(path, len(found.projects))


async def _sync(ctx: Context, row: rows.ProjectRow) -> SyncResult:
    from core.commands.registering import locate
    from core.workspace.repository import fetch

    try:
        located = await locate(row.repo, row.id, ctx.paths, ctx.cwd)
        await fetch(located.opened, if_older_than=0)
        checkout = await one.checkout_of(row)
    except QuarterdeckError as error:
        return SyncResult(row.id, "failed", None, None, None, error.sentence())
    detail = "fetched" if checkout.remotes else "it has no remote"
    return SyncResult(row.id, "ok", checkout.branch, checkout.behind, checkout.commit, detail)


async def _take_in(ctx: Context, project: str, entry: ProjectEntry, folder: Path) -> ImportResult:
    try:
        return await _add_or_update(ctx, project, entry, folder)
    except QuarterdeckError as error:
        return ImportResult(project, "failed", error.sentence())


async def _add_or_update(ctx: Context, project: str, entry: ProjectEntry, folder: Path) -> ImportResult:
    from core.commands.registering import check_base, detect, locate

    async with ctx.db.transaction(ctx.who) as connection:
        await one.check_agent(connection, entry.agent)
        known = await rows.find_project(connection, project)
        colours = next_colours(await rows.used_colours(connection))
    located = await locate(entry.repo, project, ctx.paths, folder)
    if entry.base:
        await check_base(located, entry.base)
    columns = _columns(entry) | {"repo": located.repo, "path": str(located.path)}
    if known is not None:
        await one.update(ctx, project, columns)
        return ImportResult(project, "updated", str(located.path))
    found = detect(located.path)
    defaults = {
        "name": project,
        "stack": found.stack,
        "verify": list(found.verify),
        "primary_colour": colours[0],
        "accent_colour": colours[1],
    }
    await one.insert(ctx, project, defaults | columns)
    return ImportResult(project, "added", str(located.path))


def _columns(entry: ProjectEntry) -> dict[str, Any]:
    """What the file says; what it does not mention is left as it is."""
    values = {
        "name": entry.name,
        "stack": entry.stack,
        "priority": entry.priority,
        "base": entry.base,
        "verify": None if entry.verify is None else list(entry.verify),
        "max_parallel": entry.max_parallel,
        "auto_merge": entry.auto_merge,
        "merge_method": entry.merge_method,
        "agent": entry.agent,
        "paused": entry.paused,
        "primary_colour": entry.colors.primary,
        "accent_colour": entry.colors.accent,
    }
    extra: dict[str, Any] = dict(entry.model_extra or {})
    if entry.colors.model_extra:
        extra["colors"] = entry.colors.model_extra
    return {name: value for name, value in values.items() if value is not None} | {"extra": extra}


def _entry(row: rows.ProjectRow) -> dict[str, Any]:
    extra = dict(row.extra)
    colours = {"primary": row.primary_colour, "accent": row.accent_colour} | dict(extra.pop("colors", {}))
    ours = {
        "id": row.id,
        "name": row.name,
        "repo": row.repo,
        "stack": row.stack,
        "priority": row.priority,
        "colors": {name: value for name, value in colours.items() if value is not None},
        "base": row.base,
        "verify": list(row.verify),
        "max_parallel": row.max_parallel,
        "auto_merge": row.auto_merge,
        "merge_method": row.merge_method,
        "agent": row.agent,
        "paused": row.paused,
    }
    return {name: ours[name] for name in _OURS if ours[name] is not None} | extra


def _read(ctx: Context, file: str) -> tuple[str, Path]:
    """The text of the file and the folder that its paths are relative to."""
    if file == "-":
        return ctx.read("file"), ctx.cwd
    path = ctx.cwd / written_out(file)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is larger than {_MOST_BYTES // 1_000_000} MB", "give a projects.json")
        return path.read_text("utf-8"), path.parent
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give the path of a projects.json") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not valid UTF-8 text", "give a projects.json") from None


def _entries(text: str, name: str) -> dict[str, ProjectEntry]:
    """The projects of the file by id. Raises UsageError naming the file, the entry, the field and the value."""
    from core.commands.registering import id_from

    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no valid JSON: {error}", "mend it at that place") from None
    listed = table.get("projects") if isinstance(table, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{name} has no list of projects", 'write {"projects": [{"repo": …}, …]}')
    entries: dict[str, ProjectEntry] = {}
    for position, item in enumerate(listed, start=1):
        where = f"{name}: project {position}"
        try:
            entry = ProjectEntry.model_validate(item)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "it"
            what = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{where}: {field}: {what[:1].lower() + what[1:]}", _value(first["input"])) from None
        project = entry.id or id_from(entry.repo)
        if project in entries:
            raise UsageError(f"{where} has the id {project}, as one before it", "give one of them another id")
        entries[project] = entry
    return entries


def _value(value: Any) -> str:
    text = repr(value)
    return f"it is {text if len(text) <= 80 else text[:77] + '…'}"
