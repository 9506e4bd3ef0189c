"""Keeping knowledge: the index of repositories, how fresh it is, export and import."""

import asyncio
import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import asyncpg

from config.errors import NotFoundError, QuarterdeckError, UsageError
from config.paths import written_out
from core.commands.knowledge_views import check_project
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug
from storage.database import Role
from storage.queries import knowledge_index as rows
from storage.queries import knowledge_search
from storage.queries.guard import transact
from storage.queries.knowledge_index import CorpusRow

if TYPE_CHECKING:
    from core.knowledge import models


@dataclass(frozen=True, slots=True)
class IndexView:
    """What indexing a project came to."""

    project: str
    commit: str
    files: int
    skipped: int
    added: int
    removed: int
    seconds: float
    files_per_second: float


@dataclass(frozen=True, slots=True)
class StatusView:
    """How much is known of a project, and how fresh that is. ``behind``: commits of its base that are not indexed
    yet.
    """

    project: str
    status: str
    items: int
    branch: str | None
    commit: str | None
    behind: int | None
    files: int
    done: int
    skipped: int
    indexed_at: datetime | None
    embedder: str | None
    embedded: float | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("project", "project", "key"),
        Column("status", "status", "state"),
        Column("items", "items", "count"),
        Column("branch", "branch"),
        Column("commit", "commit"),
        Column("behind", "behind", "count"),
        Column("done", "done", "count"),
        Column("of", "files", "count"),
        Column("left out", "skipped", "count"),
        Column("indexed", "indexed_at", "time"),
        Column("embedder", "embedder"),
    )
    empty: ClassVar[str] = "no projects; add one with: qd project add PATH"


@dataclass(frozen=True, slots=True)
class ModelView:
    """The model that search uses; None: words alone. ``embedded`` of ``items`` have their vector."""

    model: str | None
    dims: int | None
    embedded: int
    items: int


@dataclass(frozen=True, slots=True)
class ExportView:
    """What was written."""

    file: str
    items: int


@dataclass(frozen=True, slots=True)
class ImportView:
    """What was taken in. ``known``: was here already, as new or newer; ``skipped``: its project is not here, or its
    name is taken.
    """

    file: str
    added: int
    updated: int
    known: int
    skipped: int


@command("knowledge.index", role=Role.SUPERVISOR)
async def index(
    ctx: Context,
    project: Annotated[Slug, "id of the project"],
) -> IndexView:
    """Read a project's repository into what is known: what has changed since the last time.

    It can be interrupted and goes on where it stopped; `qd knowledge status` says how far it is. Secrets, binary,
    generated and very long
    files are left out.
    """
    from core.knowledge.embedding import Reach
    from core.knowledge.indexing import index_project
    from core.knowledge.vectors import embed_new

    last = None
    async for progress in index_project(ctx.db, ctx.who, project, fetch_older_than=60.0):
        last = progress
        ctx.advance(f"index of {project}", progress.done, progress.files)
    assert last is not None
    with contextlib.suppress(QuarterdeckError):  # without vectors of its own, what is new is found by its words
        await embed_new(Reach(ctx.db, ctx.paths, ctx.environ, ctx.who.actor), ctx.who)
    return IndexView(
        project,
        last.commit,
        last.files,
        last.skipped,
        last.added,
        last.ended,
        round(last.seconds, 3),
        round(last.files_per_second, 1),
    )


@command("knowledge.status", role=Role.VIEWER)
async def status(
    ctx: Context, project: Annotated[Slug | None, "id of the project; without it, all"] = None
) -> list[StatusView]:
    """Show how much is known of each project, and how fresh that is; only what is committed is read."""
    from core.knowledge.embedding import is_here

    async with ctx.db.transaction(ctx.who) as connection:
        await check_project(connection, project)
        found = await rows.corpora(connection, project)
        model = await knowledge_search.active_embedder(connection)
        share = await knowledge_search.embedded_share(connection, model.id) if model else None
    name = model.name if model else None
    embedded = round(share[0] / share[1], 3) if share and share[1] else None
    if model and not is_here(ctx.paths, model):
        name = f"{model.name} (its files are not here)"
    return [await _status(row, name, embedded) for row in found]


@command("knowledge.model", role=Role.ADMIN)
async def choose_model(
    ctx: Context,
    action: Annotated[
        Literal["install", "remote", "off"],
        "install: take a model in and use it; remote: use one of a service; off: search by words alone",
    ],
    source: Annotated[
        str | None,
        "folder of a model, or all-minilm-l6-v2 to fetch that; the service of a remote one",
        Metavar("PATH|NAME"),
    ] = None,
    *,
    name: Annotated[Slug | None, "what it is called; without it, as its folder"] = None,
    model: Annotated[Line | None, "the service's model, such as text-embedding-3-small"] = None,
) -> ModelView:
    """Set the model that search finds meanings by, or none.

    A model is a folder with model.onnx and tokenizer.json, or with the weights of a BERT encoder (model.safetensors, config.json,
    tokenizer.json). Its files are copied, pinned by their hashes, and verified whenever they are loaded. Search goes on meanwhile as
    before, and uses the
    model once everything has its vector; an interrupted run is taken up by the same command,
    or by a running engine.
    """
    from core.knowledge import embedding, models, vectors

    if action == "off":
        async with ctx.db.transaction(ctx.who) as connection:
            await knowledge_search.activate(connection, None)
        return ModelView(None, None, 0, 0)
    if source is None:
        raise UsageError("which model is not said", f"give a model's folder, or {', '.join(models.PUBLISHED)}")
    if action == "remote":
        if not model:
            raise UsageError(f"which model of service {source} is not said", "add --model NAME")
        reach = embedding.Reach(ctx.db, ctx.paths, ctx.environ, ctx.who.actor)
        chosen = await embedding.remote(reach, source, model)
    else:
        chosen = embedding.local(await asyncio.to_thread(_installed, ctx, source, name))
    done = items = 0
    async for step in vectors.embed_all(ctx.db, ctx.who, chosen):
        done, items = step.done, step.items
        ctx.advance(f"vectors by {chosen.name}", done, items)
    await ctx.db.ring("knowledge")
    return ModelView(chosen.name, chosen.dims, done, items)


@command("knowledge.export", role=Role.VIEWER)
async def export(ctx: Context, file: Annotated[Path, "file to write, JSON Lines"]) -> ExportView:
    """Write all that people, runs and agents have said into a file. What is read from repositories is left out."""
    from core.knowledge.exchange import export_lines

    async with ctx.db.transaction(ctx.who) as connection:
        lines = await export_lines(connection)
    path = ctx.cwd / written_out(file)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        scratch.replace(path)
    except OSError as error:
        raise QuarterdeckError(f"{path} cannot be written: {error.strerror}", "choose another place") from error
    return ExportView(str(path), len(lines))


@command("knowledge.import", role=Role.SUPERVISOR)
async def import_(
    ctx: Context, file: Annotated[str, "export to take in; - reads it from standard input", Metavar("FILE")]
) -> ImportView:
    """Take in an export. Of the same item the later change stays; taking it in again changes nothing."""
    from core.knowledge.exchange import link, parse_lines, take_in

    entries = list(parse_lines(_read(ctx, file), file))

    async def work(connection: asyncpg.Connection) -> dict[str, int]:
        counts = dict.fromkeys(("added", "updated", "known", "skipped"), 0)
        for entry in entries:
            counts[await take_in(connection, entry)] += 1
        for entry in entries:
            await link(connection, entry)
        return counts

    counts = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("knowledge")
    return ImportView(file, **counts)


def _installed(ctx: Context, source: str, name: str | None) -> "models.Model":
    from core.knowledge import models
    from core.knowledge.packages import index_of

    folder = ctx.cwd / written_out(source)
    if source in models.PUBLISHED and not folder.is_dir():
        with contextlib.suppress(NotFoundError):
            return models.load(ctx.paths, source)
        return models.install_published(ctx.paths, source, index_of(ctx.environ))
    return models.install(ctx.paths, folder, name)


async def _status(row: CorpusRow, embedder: str | None, embedded: float | None) -> StatusView:
    behind = await _behind(row) if row.path and row.head else None
    words = "not indexed"
    if row.target:
        words = "indexing"
    elif row.head:
        words = "fresh" if behind == 0 else "stale"
    return StatusView(
        project=row.project or "all projects",
        status="" if row.project is None else words,
        items=row.docs,
        branch=row.branch,
        commit=row.head[:12] if row.head else None,
        behind=behind,
        files=row.files,
        done=row.done,
        skipped=row.skipped,
        indexed_at=row.indexed_at,
        embedder=embedder,
        embedded=embedded,
    )


async def _behind(row: CorpusRow) -> int | None:
    """Commits between what is indexed and the base as it is known here; None where that cannot be said."""
    from core.workspace import repository
    from core.workspace.git import git

    assert row.path is not None
    try:
        repo = await repository.open_repository(Path(row.path))
        tip = await repository.base_commit(repo, row.base or await repository.default_base(repo))
        counted = await git("rev-list", "--count", f"{row.head}..{tip}", at=repo.place, accept=(0, 128))
    except QuarterdeckError:
        return None
    return int(counted.text) if counted.status == 0 else None


def _read(ctx: Context, file: str) -> str:
    if file == "-":
        return ctx.read("file")
    path = ctx.cwd / written_out(file)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give the path of an export") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not valid UTF-8 text", "give an export of qd") from None
