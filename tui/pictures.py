"""The pictures of the README and the documents, made by the program itself from a recording: the same ones every time.

``python -m tui.pictures RECORDING FOLDER`` writes one SVG file per scene.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from config.errors import QuarterdeckError
from config.paths import resolve_paths
from core.recording import Recording, read_recording
from tui.app import Choices
from tui.replay import ReplayApp, replay_app, scratch_database

_SETTLED = 4
"""So many looks in a row that show the same."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: when, what is open, and which keys are pressed first."""

    name: str
    seconds: float
    """Since the beginning of the recording."""
    place: str = "deck"
    names: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = (120, 36)
    theme: str = "dark"


SCENES: tuple[Scene, ...] = (
    Scene("deck", 28.0, keys=("3",)),
    Scene("deck-day", 28.0, keys=("3",), theme="light"),
    Scene("run", 40.0, "run", (("run", "3"),)),
    Scene("run-gates", 40.0, "run", (("run", "3.1"),), ("tab", "tab", "tab")),
    Scene("keys", 28.0, keys=("?",)),
)


async def draw(recording: Recording, scene: Scene, dsn: str, environ: Mapping[str, str], folder: Path) -> str:
    """One picture as SVG."""
    choices = Choices(theme=scene.theme, readonly=True)
    async with replay_app(recording, dsn, environ, folder, choices) as app, app.run_test(size=scene.size) as pilot:
        await app.store.ready()
        app.replay.playing = False
        await app.replay.seek(scene.seconds)
        app.store.reload()
        if scene.place != "deck":
            app.open(scene.place, **dict(scene.names))
        await _settled(app, pilot)
        for key in scene.keys:
            await pilot.press(key)
            await _settled(app, pilot)
        return app.export_screenshot(title="Quarterdeck")


async def draw_all(file: Path, into: Path, environ: Mapping[str, str]) -> list[Path]:
    """All pictures; their files."""
    recording = read_recording(file)
    into.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for scene in SCENES:
            async with scratch_database(resolve_paths(environ)) as dsn:
                picture = await draw(recording, scene, dsn, environ, Path(folder))
            path = into / f"{scene.name}.svg"
            path.write_text(picture, "utf-8")
            written.append(path)
    return written


async def _settled(app: ReplayApp, pilot: Pilot[int]) -> None:
    """Wait until all is loaded and nothing changes any more, twenty seconds at most."""
    same, before = 0, ""
    end = time.monotonic() + 20
    while same < _SETTLED and time.monotonic() < end:
        await pilot.pause(0.1)
        now = app.export_screenshot()
        same = same + 1 if now == before and app.store.settled else 0
        before = now


def main() -> int:
    """The command line."""
    if len(sys.argv) != 3:
        print("usage: python -m tui.pictures RECORDING FOLDER", file=sys.stderr)
        return 2
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        for path in asyncio.run(draw_all(Path(sys.argv[1]), Path(sys.argv[2]), os.environ)):
            print(path)
    except QuarterdeckError as error:
        print(error.sentence(), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
