"""Reads the settings: defaults, then ``config.toml``, then what was set live in the database.

A wrong value in the file is refused with its place, since a person wrote it there and can mend it. A wrong value in
the database can only come from another version of the program: it is left out, with a warning, so that no engine
stands still for it.
"""

import difflib
import json
import logging
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import NotFoundError, UsageError
from config.paths import Paths, written_out
from config.settings import Group, Settings, help_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE_ONLY = frozenset({"database_url"})
"""Keys that must be known before the database is."""

log = logging.getLogger("qd.settings")


def config_file(paths: Paths, environ: Mapping[str, str]) -> Path:
    """Where the settings of the person are: ``QD_CONFIG``, else in the folder of the configuration."""
    named = environ.get("QD_CONFIG")
    return written_out(named) if named else paths.config_file


def read_config(paths: Paths, environ: Mapping[str, str]) -> dict[str, Any]:
    """The values of the file by key (``engine.max_parallel``), validated; none without a file.

    Raises :class:`UsageError` naming the file, the key, the value and the remedy.
    """
    path = config_file(paths, environ)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if environ.get("QD_CONFIG"):
            raise UsageError(f"QD_CONFIG names {path}, which does not exist", "create it or unset QD_CONFIG") from None
        return {}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "make it a readable file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no valid TOML: {error}", "mend it at that place") from error
    values = {}
    for key, value in _flat(table):
        try:
            values[key] = check_value(key, value)
        except (NotFoundError, UsageError) as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from None
    return values


def settings_from(file: Mapping[str, Any], live: Mapping[str, Any]) -> Settings:
    """All settings; ``file`` as :func:`read_config` gives it, ``live`` the rows of the database."""
    values = dict(file)
    for key, value in live.items():
        try:
            values[key] = check_value(key, value)
        except (NotFoundError, UsageError) as error:
            log.warning("the setting %s in the database is left out: %s", key, error)
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[name] = value
    return _checker().validate_python(nested) if nested else Settings()


@cache
def _checker() -> "TypeAdapter[Settings]":
    """What checks settings. Loaded for who has set something alone: it would double what a short command loads."""
    from pydantic import TypeAdapter

    return TypeAdapter(Settings)


def known_keys() -> dict[str, Any]:
    """Every key with its default."""
    keys: dict[str, Any] = {}
    for outer in fields(Settings):
        if isinstance(outer.default, Group):
            keys |= {f"{outer.name}.{inner.name}": inner.default for inner in fields(type(outer.default))}
        else:
            keys[outer.name] = outer.default
    return keys


def about_key(key: str) -> str:
    """What a known key is for."""
    group, _, name = key.rpartition(".")
    return help_of(group).get(name, "")


def check_value(key: str, value: Any) -> Any:
    """The value as the key's type has it.

    Raises :class:`NotFoundError` for the key, :class:`UsageError` for the value.
    """
    keys = known_keys()
    if key not in keys:
        near = difflib.get_close_matches(key, keys, 1)
        raise NotFoundError(
            f"there is no setting {key!r}", f"did you mean {near[0]}?" if near else "see `qd settings list`"
        )
    from pydantic import ValidationError

    group, _, name = key.rpartition(".")
    try:
        checked = _checker().validate_python({group: {name: value}} if group else {name: value})
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"{key} = {_shown(value)}: {what[:1].lower() + what[1:]}", f"the default is {json.dumps(keys[key])}"
        ) from None
    return getattr(getattr(checked, group) if group else checked, name)


def parse_value(text: str) -> Any:
    """A value as a person types it: JSON where it is JSON (``4``, ``true``, ``null``), else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def value_of(settings: Settings, key: str) -> Any:
    """The value of a known key."""
    group, _, name = key.rpartition(".")
    return getattr(getattr(settings, group) if group else settings, name)


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
