"""Keeps all that the database holds in a file, and brings it back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from config.errors import ConflictError, NotFoundError
from config.paths import written_out
from core.commands.table import Context, command
from storage.database import Role
from storage.source import find_database


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup; ``schema`` is the version of the tables in it."""

    file: str
    size_bytes: int
    schema: str


@command("backup", role=Role.ADMIN, says="{file} is written ({size_bytes} bytes, schema {schema})")
async def backup(
    ctx: Context,
    file: Annotated[Path, "file to write; must not exist"],
) -> Backup:
    """Write the whole database into a file, as of this moment, while work goes on.

    It holds what everybody may see and do here: tasks, runs with their logs, budgets, knowledge, the audit trail.
    Repositories, worktrees, `config.toml` and secrets are not in it. `pg_restore` can read it.
    """
    from storage.backup import back_up, schema_of

    path = ctx.cwd / written_out(file)
    if path.exists():
        raise ConflictError(f"{path} exists already", "name a file that does not")
    await back_up(find_database(ctx.paths, ctx.environ), path)
    return Backup(str(path), path.stat().st_size, await schema_of(path))


@command("restore", role=Role.ADMIN, destructive=True, says="{file} is restored (schema {schema})")
async def restore(
    ctx: Context,
    file: Annotated[Path, "backup to read; one that you trust, since it is run as the owner of the database"],
) -> Backup:
    """Put what a backup holds in the place of all that the database holds now.

    It happens as a whole or not at all, and only while nobody else uses the database. Tasks that were in progress when
    the backup was made start again.
    """
    from storage import backup as archive

    path = ctx.cwd / written_out(file)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", "give a file that `qd backup` has written")
    schema = await archive.schema_of(path)
    source = find_database(ctx.paths, ctx.environ)
    await ctx.db.close()
    ctx.paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    await archive.restore(source, path, ctx.paths.state)
    return Backup(str(path), path.stat().st_size, schema)
