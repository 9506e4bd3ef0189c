"""What the agent of a run says by its tools: how far it is, and what it needs a person for.

Only an engine numbers the events of a run: both go to the one that holds the run, as what people say does.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Annotated

import asyncpg

from config.errors import ConflictError, UsageError
from core.commands.checks import Within
from core.commands.table import Context, Tool, command
from core.commands.values import Text
from core.commands.views import InputView
from core.tasks.watch import Watch
from storage.database import Role
from storage.queries import questions
from storage.queries import runs as rows
from storage.queries.guard import transact

WAIT_SECONDS = 45.0
"""How long one call waits for an answer: shorter than any client's patience. It is asked again for more."""

LONGEST = 20_000
"""Characters of what an agent says at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of an agent, and the answer once there is one."""

    answered: bool
    answer: str | None
    note: str


@command(
    "run.report",
    role=Role.AGENT,
    tool=Tool(
        "report_progress",
        ("text", "percent"),
        "Tell the supervisor in one or two sentences how far you are, when something worth knowing has happened.",
        shows=("run", "kind"),
    ),
)
async def report(
    ctx: Context,
    text: Annotated[Text, Within(min_length=1, max_length=LONGEST), "How far it is"],
    *,
    percent: Annotated[int | None, Within(ge=0, le=100), "About how much of the task is done, 0 to 100"] = None,
) -> InputView:
    """Say how far a run is. For its agent."""
    run = _own_run(ctx)
    data = {"text": text.strip(), "percent": percent}

    async def work(connection: asyncpg.Connection) -> tuple[rows.Run, int]:
        seq = await rows.tell(connection, run, "progress", data, ctx.who.actor)
        return await rows.run_by_number(connection, run), seq

    found, seq = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("run-input", f"run:{run}")
    return InputView(found.name, seq, "progress", text)


@command(
    "run.ask",
    role=Role.AGENT,
    tool=Tool(
        "ask_supervisor",
        ("question", "options"),
        "Ask the supervisor, a person, what only a person can decide. Waits a while for the answer; ask again in the very"
        " same words to go on waiting.",
    ),
)
async def ask(
    ctx: Context,
    question: Annotated[Text, Within(min_length=1, max_length=LONGEST), "The question"],
    *,
    options: Annotated[
        tuple[Annotated[Text, Within(min_length=1, max_length=500)], ...],
        Within(max_length=20),
        "Answers to choose from, if there are such",
    ] = (),
    wait: Annotated[float, Within(ge=0, le=WAIT_SECONDS), "Seconds to wait for the answer"] = WAIT_SECONDS,
) -> Asked:
    """Ask a person something, and wait for the answer. For the agent of a run.

    Asked again in the same words it goes on waiting, or says what was answered meanwhile.
    """
    run = _own_run(ctx)
    words = question.strip()
    if not words:
        raise UsageError("the question is empty", "say what is to be decided")
    ref = f"tool-{hashlib.sha256(words.encode()).hexdigest()[:24]}"
    data = {"id": ref, "text": words, "options": list(options), "via": "tool"}

    async def put(connection: asyncpg.Connection) -> questions.Answer | None:
        known = await questions.answer_of(connection, run, ref)
        if known is None:
            await rows.tell(connection, run, "question", data, ctx.who.actor)
        return known

    async with Watch.on(ctx.db.dsn, "question") as watch:
        answer = await transact(ctx.db, ctx.who, put)
        if answer is None:
            await ctx.db.ring("run-input", f"run:{run}")
        end = asyncio.get_running_loop().time() + wait
        while answer is None or answer.status == "open":
            if not await watch.changed(end - asyncio.get_running_loop().time()):
                return Asked(answered=False, answer=None, note="nobody has answered yet; ask again to go on waiting")
            async with ctx.db.transaction(ctx.who) as connection:
                answer = await questions.answer_of(connection, run, ref)
    if answer.status != "answered":
        raise ConflictError("the question has expired: its run has ended")
    return Asked(answered=True, answer=answer.text, note=f"answered by {answer.by}")


def _own_run(ctx: Context) -> int:
    if ctx.who.run is None:
        raise UsageError("there is no run that this could be said of", "only the agent of a run has this")
    return ctx.who.run
