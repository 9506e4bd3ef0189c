"""The log of a run as a file: one event after the other, every line in full, without colours and controls."""

import os
from pathlib import Path

from core.faces.plain import harmless, rfc3339
from core.tasks.log_pages import Range
from tui.widgets.log_window import LogSource


async def save_log(source: LogSource, wanted: Range, path: Path) -> tuple[int, int]:
    """Write a range of a log to a new file; how many events and bytes. Raises :class:`OSError`.

    It is written as it is read: a million events take the memory of a page.
    """
    events = written = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        async for event in source.all(wanted):
            text = event.text if not event.output else f"{event.text}\n{event.output}"
            lines = harmless(text).split("\n")
            head = f"{rfc3339(event.at)} {event.seq:>7} {event.kind:<11} "
            written += file.write((head + ("\n" + " " * 4).join(lines) + "\n").encode("utf-8", "replace"))
            events += 1
    return events, written
