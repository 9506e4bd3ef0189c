"""Plain `qd`, and the demonstration for a person at a terminal: the screen.

The screen is a room above this one. It is found by its name when it is wanted
(:func:`core.faces.start.screen`), so that nothing here depends on it.
"""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError, UsageError
from config.paths import resolve_paths

if TYPE_CHECKING:
    from core.commands.table import Context
    from core.faces.cli import Edge
    from core.faces.words import Globals

NO_ENGINE = "QD_NO_ENGINE"
"""Variable that keeps the screen from starting an engine of this host: it shows one elsewhere."""
PATIENCE_SECONDS = 45.0
"""How long the demonstration leaves a question to the person at the screen before it goes on by itself."""


def has_terminal(edge: "Edge") -> bool:
    """Whether there is somebody to look at a screen, and a terminal that can show one (Textual draws on standard error); a browser is as good."""
    if edge.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver"):
        return True
    return (
        edge.stdin.isatty()
        and edge.stdout.isatty()
        and edge.stderr.isatty()
        and edge.environ.get("TERM", "") not in ("", "dumb")
    )


async def welcome(edge: "Edge", environ: Mapping[str, str], options: "Globals") -> int:
    """Open the screen. Raises UsageError without a terminal."""
    if not has_terminal(edge):
        raise UsageError("qd without a command opens the screen, which needs a terminal", "see `qd help`")
    from core.faces.start import screen

    code: int = await screen().open_screen(
        environ,
        edge.cwd,
        readonly=options.readonly,
        low_bandwidth=options.low_bandwidth,
        theme=options.theme or "",
        starts_engine=options.database_url is None and not environ.get(NO_ENGINE),  # to look is not to join
    )
    return code


async def show_demo(
    edge: "Edge", environ: Mapping[str, str], options: "Globals", *, keep: bool, record: Path | None = None
) -> int:
    """Open the screen over the demonstration, which ends when the person leaves."""
    from core.commands.demo import recording_of
    from core.demo.corner import corner
    from core.demo.show import crew_at_work
    from core.faces.start import screen

    async with (
        corner(resolve_paths(environ), keep=keep) as where,
        crew_at_work(where, environ, edge.cwd) as crew,
        recording_of(crew, where, record),
    ):
        code: int = await screen().open_screen(
            environ,
            edge.cwd,
            context=crew,
            readonly=options.readonly,
            low_bandwidth=options.low_bandwidth,
            theme=options.theme or "",
            notice="demo · scripted model",
            beside=lambda: _play(crew),
        )
    if keep:
        edge.stdout.write(f"the demo stays in {where.paths.state.parent}, database {where.database}\n")
    return code


async def show_replay(
    edge: "Edge", environ: Mapping[str, str], arguments: Mapping[str, Any], options: "Globals"
) -> int:
    """Open the screen over a recording."""
    from core.faces.start import replay

    code: int = await replay().open_replay(
        edge.cwd / str(arguments["file"]),
        environ,
        speed=float(arguments.get("speed", 1.0)),
        theme=options.theme or "",
        low_bandwidth=options.low_bandwidth,
    )
    return code


async def show_in_browser(
    edge: "Edge", environ: Mapping[str, str], arguments: Mapping[str, Any], *, as_json: bool
) -> int:
    """Offer the screen to browsers until interrupted."""
    from asyncio import Event

    from core.commands.browser import PORT
    from core.faces.plain import json_text
    from core.faces.start import server

    elsewhere = environ.get("QD_DATABASE_URL") != edge.environ.get("QD_DATABASE_URL")
    async with server().serving(
        {**environ, NO_ENGINE: "1"} if elsewhere else environ,
        port=int(arguments.get("port", PORT)),
        public_url=str(arguments.get("public_url") or ""),
        readonly=bool(arguments.get("readonly")),
    ) as door:
        words = (
            json_text({"url": door.link}) if as_json else f"open {door.link}\nctrl-c ends it; the crew goes on working"
        )
        edge.stdout.write(words + "\n")
        edge.stdout.flush()
        await Event().wait()
    return 0


async def _play(crew: "Context") -> str:
    """Play the supervisor where the person does not; what came of it, in one line."""
    from core.demo.show import Outcome, happenings

    outcomes: list[Outcome] = []
    try:
        async with aclosing(happenings(crew, patience=PATIENCE_SECONDS)) as told:
            outcomes += [item async for item in told if isinstance(item, Outcome)]
    except QuarterdeckError as error:
        return f"the demo has stopped: {error.sentence()}"
    done = sum(outcome.status == "completed" for outcome in outcomes)
    return f"the demo is over: {done} of {len(outcomes)} tasks completed and merged, nothing was charged; look round, q leaves"
