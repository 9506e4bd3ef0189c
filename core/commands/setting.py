"""Settings: looked at, and changed live."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from config.errors import UsageError
from config.reader import (
    FILE_ONLY,
    about_key,
    check_value,
    known_keys,
    parse_value,
    read_config,
    settings_from,
    value_of,
)
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Text
from storage.database import Role
from storage.queries import settings as rows
from storage.source import redacted

Key = Annotated[str, "which one, such as engine.max_parallel"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; ``source``: default, file or database (set live)."""

    key: str
    value: Any
    default: Any
    source: str
    help: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("key", "key", "key"),
        Column("value", "value"),
        Column("from", "source"),
        Column("what it is", "help", folds=True),
    )


@command("settings.list", role=Role.VIEWER)
async def list_settings(ctx: Context) -> list[Setting]:
    """List every setting with its value and where that comes from."""
    return await _settings(ctx)


@command("settings.get", role=Role.VIEWER)
async def get_setting(ctx: Context, key: Key) -> Setting:
    """Show one setting."""
    check_key(key)
    return next(setting for setting in await _settings(ctx) if setting.key == key)


@command("settings.set", role=Role.ADMIN, says="{key} is {value}")
async def set_setting(
    ctx: Context,
    key: Key,
    value: Annotated[Text, "the new value: a number, true, false, null, or text", Metavar("VALUE")],
) -> Setting:
    """Set a value, live: engines take it up at once.

    It is checked first, and lies above what `config.toml` says.
    """
    await store_setting(ctx, key, parse_value(value))
    return await get_setting(ctx, key)


@command("settings.unset", role=Role.ADMIN, says="{key} is {value}, from the {source}")
async def unset_setting(ctx: Context, key: Key) -> Setting:
    """Take back what was set live: the file's value, or the default, holds again."""
    check_key(key)
    async with ctx.db.transaction(ctx.who) as connection:
        changed = await rows.unset_setting(connection, key)
    if changed:
        await ctx.db.ring("settings", f"settings:{key}")
    return await get_setting(ctx, key)


async def store_setting(ctx: Context, key: str, value: Any) -> None:
    """Set a value live, checked. Raises NotFoundError for the key, UsageError for the value."""
    check_key(key)
    if key in FILE_ONLY:
        raise UsageError(f"{key} cannot be set live", f"write it into {ctx.paths.config_file}")
    checked = check_value(key, value)
    async with ctx.db.transaction(ctx.who) as connection:
        await rows.set_setting(connection, key, checked)
    await ctx.db.ring("settings", f"settings:{key}")


def check_key(key: str) -> None:
    """Raise NotFoundError, with the nearest match, for a key that is none."""
    if key not in known_keys():
        check_value(key, None)


async def _settings(ctx: Context) -> list[Setting]:
    file = read_config(ctx.paths, ctx.environ)
    async with ctx.db.transaction(ctx.who) as connection:
        live = await rows.all_settings(connection)
    now = settings_from(file, live)
    return [
        Setting(
            key=key,
            value=_shown(key, value_of(now, key)),
            default=default,
            source="database" if key in live else "file" if key in file else "default",
            help=about_key(key),
        )
        for key, default in known_keys().items()
    ]


def _shown(key: str, value: Any) -> Any:
    """The value, without the password that an address may carry."""
    return redacted(value) if key == "database_url" and isinstance(value, str) else value
