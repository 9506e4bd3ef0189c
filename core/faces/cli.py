"""The command line: reads the words, invokes the command, writes the result. It knows of no command in particular."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, get_args, get_type_hints

from config.errors import QuarterdeckError, UsageError
from config.paths import Paths, resolve_paths
from core.commands.table import Command, invoke, validated
from core.faces.plain import harmless, json_text, one_line
from core.faces.words import Request, find_topic, parse, wants_json

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
LONGEST_MESSAGE = 2000
"""Characters of an error that are told."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where a disk or a quota is full."""
_NOT_NARROWING = frozenset({"follow", "limit", "order", "tail"})
"""Options of a list that leave out nothing for what it holds."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The world that one call of `qd` sees."""

    environ: Mapping[str, str]
    cwd: Path
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO


def main(argv: Sequence[str]) -> int:
    """Run one command line of this process; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        cwd = Path.cwd()
    except FileNotFoundError:
        print("qd: the folder that you are in does not exist any more; change to another one", file=sys.stderr)
        return UsageError.exit_code
    edge = Edge(os.environ, cwd, sys.stdin, sys.stdout, sys.stderr)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = asyncio.run(run(argv, edge))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _reader_left()
        _tell(_no_room(error), edge, as_json=wants_json(argv))
        return QuarterdeckError.exit_code
    return code


async def run(argv: Sequence[str], edge: Edge) -> int:
    """Run one command line; returns the exit code. Only a reader that left, a full disk and an interrupt come out as
    exceptions.
    """
    as_json = wants_json(argv)
    try:
        return await _serve(parse(argv), edge)
    except QuarterdeckError as error:
        _tell(error, edge, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        # The outermost boundary: a bug becomes a sentence and a report.
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        _tell(_report(error, edge), edge, as_json=as_json)
        return QuarterdeckError.exit_code


async def _serve(request: Request, edge: Edge) -> int:
    environ = dict(edge.environ)
    if request.options.database_url is not None:
        environ["QD_DATABASE_URL"] = request.options.database_url
    if request.options.version and request.command is None and not request.topic:
        from core import VERSION

        edge.stdout.write(f"qd {VERSION}\n")
        return 0
    if request.options.help or request.topic:
        return _help(request, edge)
    if request.command is None:
        from core.faces.welcome import welcome

        return await welcome(edge, environ, request.options)
    entry = request.command
    validated(entry, request.arguments)  # before anything is opened or asked
    paths = resolve_paths(environ)
    if entry.name == "serve":
        from core.faces.welcome import show_in_browser

        return await show_in_browser(edge, environ, request.arguments, as_json=request.options.json)
    if entry.screen and not (request.options.json or request.options.csv) and not request.arguments.get("headless"):
        from core.faces.welcome import has_terminal, show_demo, show_replay

        if has_terminal(edge) and entry.name == "replay":
            return await show_replay(edge, environ, request.arguments, request.options)
        if has_terminal(edge):
            record = request.arguments.get("record")
            return await show_demo(
                edge,
                environ,
                request.options,
                keep=bool(request.arguments.get("keep")),
                record=Path(record) if record else None,
            )
    if entry.destructive and not request.options.yes and edge.stdin.isatty() and not _confirmed(entry, request, edge):
        edge.stderr.write("nothing was done\n")
        return QuarterdeckError.exit_code
    from core.faces.opening import open_context
    from core.faces.progress import Bar

    bar = Bar(edge.stderr, shown=not request.options.json)
    async with (
        open_context(
            paths,
            environ,
            cwd=edge.cwd,
            stdin=lambda: _read(edge.stdin),
            offline=entry.offline,
            note=lambda words: None if request.options.json else print(f"qd: {one_line(words)}", file=edge.stderr),
            advance=bar,
        ) as context,
        bar,
    ):
        if entry.name == "mcp":
            from core.faces.mcp import own_streams, serve

            return await serve(context, *own_streams())
        result = await invoke(context, entry.name, request.arguments)
        if entry.streams:
            async with aclosing(result) as items:  # a reader that leaves must not leave it half done
                return await _stream(items, request, edge)
    return _show(result, request, edge)


def _show(result: Any, request: Request, edge: Edge) -> int:
    """Write a result; the exit code is 0, unless what is told has one of its own (``exit_status``)."""
    entry = request.command
    assert entry is not None
    if request.options.json:
        edge.stdout.write(json_text(result, indent=2 if edge.stdout.isatty() else None) + "\n")
    elif request.options.csv:
        from core.faces.sheet import sheet

        rows = result if isinstance(result, list | tuple) else [result]
        edge.stdout.write(sheet(rows, _held(entry)))
    elif entry.says and not isinstance(result, list | tuple):
        edge.stdout.write(_said(entry.says, result) + "\n")
    elif not result and isinstance(result, list | tuple):
        edge.stderr.write(f"{_nothing(request)}\n")
    else:
        from core.faces.render import draw

        draw(_screen(edge), result)
    results = result if isinstance(result, list | tuple) else (result,)
    return max((int(getattr(one, "exit_status", 0)) for one in results), default=0)


async def _stream(items: AsyncIterator[Any], request: Request, edge: Edge) -> int:
    """Write items as they come: with ``--follow`` one JSON object per line, without it one array."""
    entry = request.command
    assert entry is not None
    out = edge.stdout
    follows = request.arguments.get("follow", "follow" not in {parameter.name for parameter in entry.parameters})
    array = request.options.json and not follows
    if request.options.csv:
        return await _stream_sheet(items, entry, edge)
    code, count = 0, 0
    async for item in items:
        if request.options.json:
            out.write((("[" if count == 0 else ",\n") if array else "") + json_text(item) + ("" if array else "\n"))
        else:
            from core.faces.render import draw_item

            draw_item(_screen(edge), item)
        if follows:
            out.flush()
        count += 1
        code = int(getattr(item, "exit_status", 0))
    if array:
        out.write("]\n" if count else "[]\n")
    elif count == 0 and not request.options.json:
        edge.stderr.write(f"{_nothing(request)}\n")
    return code


async def _stream_sheet(items: AsyncIterator[Any], entry: Command, edge: Edge) -> int:
    """Write items as CSV as they come; the first one says which columns there are."""
    from core.faces.sheet import lines, row_of, sheet

    titles: list[str] = []
    code = 0
    async for item in items:
        row = row_of(item)
        if not titles:
            titles = list(row)
            edge.stdout.write(lines([titles]))
        edge.stdout.write(lines([[row.get(title) for title in titles]]))
        edge.stdout.flush()
        code = int(getattr(item, "exit_status", 0))
    if not titles:
        edge.stdout.write(sheet([], _held(entry)))
    return code


def _help(request: Request, edge: Edge) -> int:
    from core.faces.help import help_data, help_text

    noun, entry = find_topic(request.topic)
    if request.options.json:
        edge.stdout.write(json_text(help_data(noun, entry)) + "\n")
    else:
        edge.stdout.write(help_text(noun, entry))
    return 0


def _said(template: str, result: Any) -> str:
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return one_line(template.format_map({name: "" if value is None else value for name, value in values.items()}))


def _nothing(request: Request) -> str:
    """What is said in place of an empty list: in the words of the type that it would hold, unless options ask for
    less than all."""
    entry = request.command
    assert entry is not None
    optional = {parameter.name for parameter in entry.parameters if not parameter.positional} - _NOT_NARROWING
    if optional & request.arguments.keys():
        return f"nothing fits; `qd {entry.name.replace('.', ' ')}` without its options shows all"
    return getattr(_held(entry), "empty", "nothing to show")


def _held(entry: Command) -> Any:
    """The type of what a list of this command holds."""
    returned = get_args(get_type_hints(entry.function).get("return"))
    return returned[0] if returned else None


def _confirmed(entry: Command, request: Request, edge: Edge) -> bool:
    """Ask the person at the terminal."""
    named = " ".join(str(value) for value in request.arguments.values() if isinstance(value, str))
    what = entry.help.split("\n\n")[0].replace("\n", " ")
    edge.stderr.write(f"qd {entry.name.replace('.', ' ')} {one_line(named)}\n{what}\nGo on? [y/N] ")
    edge.stderr.flush()
    return edge.stdin.readline().strip().lower() in ("y", "yes")


def _screen(edge: Edge) -> Any:
    import shutil

    from core.faces.render import Screen

    terminal = edge.stdout.isatty()
    columns = edge.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() and 20 <= int(columns) <= 4000 else None
    if width is None and terminal:
        width = shutil.get_terminal_size().columns
    plain = edge.environ.get("TERM", "dumb" if terminal else "") == "dumb"
    colour = terminal and not plain and not edge.environ.get("NO_COLOR")
    encoding = (getattr(edge.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return Screen(edge.stdout, width, colour, (plain and terminal) or not encoding.startswith("utf"), datetime.now(UTC))


def _tell(error: QuarterdeckError, edge: Edge, *, as_json: bool) -> None:
    if as_json:
        told = {"error": {"code": error.code, "message": _shortened(error.message), "hint": error.hint}}
        edge.stderr.write(json_text(told) + "\n")
    else:
        hint = f"; {error.hint}" if error.hint else ""
        edge.stderr.write(f"qd: {one_line(harmless(_shortened(error.message) + hint))}\n")


def _shortened(message: str) -> str:
    """A sentence may quote what somebody gave it, of any length."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]}…"


def _report(error: Exception, edge: Edge) -> QuarterdeckError:
    """Write a bug down, without the values of variables, and say where."""
    import traceback

    name = type(error).__name__
    try:
        paths = resolve_paths(edge.environ)
        where = _crash_file(paths)
        where.write_text("".join(traceback.format_exception(error, chain=True)), "utf-8", "backslashreplace")
    except (OSError, ValueError) as trouble:
        return QuarterdeckError(f"internal error ({name}); no report could be written ({trouble})", "please report it")
    return QuarterdeckError(f"internal error ({name}); the report is in {where}", "please send it to the makers")


def _no_room(error: OSError) -> QuarterdeckError:
    where = error.filename or "where the output goes"
    return QuarterdeckError(f"there is no room left: {error.strerror} ({where})", "make room, then try again")


def _crash_file(paths: Paths) -> Path:
    paths.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    return paths.logs / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"


def _read(stdin: TextIO) -> str:
    """All of standard input. Raises :class:`UsageError` where it is no text."""
    try:
        return stdin.read()
    except UnicodeDecodeError:
        raise UsageError("standard input is not valid UTF-8 text", "convert it first") from None


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End at once. The handler of asyncio would wait for a read of the terminal or of a pipe to return."""
    raise KeyboardInterrupt


def _reader_left() -> int:
    """Whoever read our output has had enough: end quietly."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return 0
