"""The texts of the run screen's tabs: what was used, what was checked, what the run was told."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from core.faces.render import duration
from storage.queries.run_screen import RunPicture
from tui.ink import Ink, Part, money, plain
from tui.safe_text import lines_of, plain_text

Line = Sequence[Part]
_PROMPT_LIMIT = 200_000
"""Bytes of the prompt that are shown."""


def usage_lines(picture: RunPicture, ink: Ink) -> list[Line]:
    """What the run has used so far."""
    run = picture.run
    tokens = run.tokens
    rows = [
        ("cost", money(run.cost_usd)),
        ("tokens in", f"{tokens.input:,}"),
        ("  from cache", f"{tokens.cache_read:,}"),
        ("  to cache", f"{tokens.cache_write:,}"),
        ("tokens out", f"{tokens.output:,}"),
        ("events", f"{run.events:,}"),
        ("files changed", f"{run.files_changed:,}  (+{run.insertions:,} {ink.glyph('minus')}{run.deletions:,})"),
        ("branch", plain(run.branch or "none yet")),
        ("worktree", plain(run.worktree or "none yet")),
        ("engine", plain(run.engine or "none")),
        ("session", plain(run.session or "none")),
        ("process", str(run.pid) if run.pid else "none"),
        ("exit code", "none yet" if run.exit_code is None else str(run.exit_code)),
        ("verdict", plain(run.verdict or "none yet")),
    ]
    return [[], *([(f"  {name:<16}", "dim"), (value, "text")] for name, value in rows)]


def gate_lines(picture: RunPicture, ink: Ink) -> list[Line]:
    """The checks of every round, the newest round first, with what they printed."""
    if not picture.gates:
        return [
            [],
            [
                ("  No check has run yet. ", "text"),
                ("They run when the agent is done: ", "dim"),
                ("project edit --verify", "focus"),
            ],
        ]
    lines: list[Line] = []
    for number in sorted({gate.round for gate in picture.gates}, reverse=True):
        lines += [[], [(f"  round {number}", "text bold")]]
        for gate in picture.gates:
            if gate.round != number:
                continue
            good = gate.status == "passed"
            sign = ink.glyph("ok" if good else "bad")
            code = "" if gate.exit_code in (None, 0) else f", exit code {gate.exit_code}"
            tone = "ok" if good else "bad"
            lines.append([
                (f"  {sign} {gate.status:<8}", tone), (plain(gate.command), "text"),
                (f"  {duration(gate.seconds)}{code}", "dim"),
            ])  # fmt: skip
            lines += [
                [("      ", ""), (plain_text(line), "dim" if good else "text")]
                for line in lines_of(gate.output)[-200:]
                if line
            ]
    return lines


def told_lines(picture: RunPicture, prompt: str | None, now: datetime) -> list[Line]:
    """What the run was told: by people while it ran, and by its prompt before."""
    lines: list[Line] = [[]]
    for told in reversed(picture.inputs):
        state = f"delivered {_ago(told.delivered_at, now)}" if told.delivered_at else "on its way"
        words = str(told.data.get("text") or told.data.get("decision") or "")
        lines.append([
            (f"  {told.kind:<10}", "focus"), (plain(told.actor.removeprefix("user:")), "text"),
            (f"  {state}", "dim" if told.delivered_at else "warn"),
        ])  # fmt: skip
        lines += [[("    ", ""), (plain_text(line), "text")] for line in lines_of(words) if line]
    if picture.inputs:
        lines.append([])
    if prompt is None:
        lines.append([("  The prompt is on the host of its engine. This is the task:", "dim")])
        prompt = f"# Task #{picture.run.task}: {picture.title}\n\n{picture.description}"
    else:
        lines.append([("  The prompt:", "dim")])
    lines.append([])
    lines += [
        [("  ", ""), (plain_text(line), "text bold" if line.startswith("#") else "text")] for line in lines_of(prompt)
    ]
    return lines


def read_prompt(folder: str) -> str | None:
    """The prompt of a run, where its folder is on this machine."""
    if not folder:
        return None
    try:
        file = os.open(Path(folder) / "prompt.md", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read(_PROMPT_LIMIT).decode("utf-8", "replace")


def _ago(at: datetime, now: datetime) -> str:
    return f"{duration(max(0.0, (now - at).total_seconds()), coarse=True)} ago"
