"""`qd question`: what agents ask, and what they want to be allowed."""

from typing import Annotated, Literal
from uuid import UUID

import asyncpg

from config.errors import ConflictError, UsageError
from core.commands.checks import Before
from core.commands.table import Context, command
from core.commands.values import Slug, TaskRef, Text
from core.commands.views import QuestionView, view, views
from storage.database import Role
from storage.queries import questions as rows
from storage.queries import tasks
from storage.queries.guard import transact
from storage.queries.permissions import rule_for


def _question(value: object) -> object:
    text = str(value).strip().removeprefix("#")
    if text.isdecimal() and len(text) <= 18:
        return int(text)
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("is no question; name it by its number or its id") from None


QuestionRef = Annotated[int | UUID, Before(_question)]


@command("question.list", role=Role.VIEWER)
async def list_questions(
    ctx: Context,
    *,
    status: Annotated[Literal["open", "answered", "expired", "all"], "In this state"] = "open",
    project: Annotated[Slug | None, "Only this project's"] = None,
    task: Annotated[TaskRef | None, "Only this task's"] = None,
    limit: Annotated[int, "At most so many"] = 100,
) -> list[QuestionView]:
    """List open questions, the oldest first."""
    if limit < 1:
        raise UsageError(f"limit {limit}: must be 1 or more")
    async with ctx.db.transaction(ctx.who) as connection:
        number = None if task is None else (await tasks.resolve(connection, [task]))[0]
        found = await rows.list_questions(
            connection, status=None if status == "all" else status, project=project, task=number, limit=limit
        )
    return views(QuestionView, found)


@command("question.answer", role=Role.SUPERVISOR)
async def answer(
    ctx: Context,
    id: Annotated[QuestionRef, "Number or id of the question"],  # noqa: A002 - as the command line calls it
    text: Annotated[
        Text | None, "The answer: one of the options, or its place among them from 1; words where there are none"
    ] = None,
    *,
    allow: Annotated[bool, "Allow what is asked for, this once"] = False,
    deny: Annotated[bool, "Deny it; the text says why"] = False,
    always: Annotated[bool, "Allow it now and from now on in this project"] = False,
    free: Annotated[bool, "Answer in words of your own where options are given"] = False,
) -> QuestionView:
    """Answer a question of an agent; the first answer counts."""
    decision = _decision(allow=allow, deny=deny, always=always)

    async def work(connection: asyncpg.Connection) -> tuple[QuestionView, int | None]:
        question = await rows.find_question(connection, id)
        _check_open(question)
        words = _checked(question, text, decision, free=free)
        if not await rows.settle(connection, question.number, answer=words, decision=decision, actor=ctx.who.actor):
            _check_open(await rows.find_question(connection, id))
            raise ConflictError(
                f"the run of question {question.number} has ended", f"`qd task show {question.task}` says how"
            )
        if decision == "always":
            rule = rule_for(question.data)
            if rule is None:
                raise UsageError(
                    f"question {question.number} names no tool that could always be allowed", "answer with --allow"
                )
            await rows.add_permission(connection, question.project, rule, ctx.who.actor)
        settled = await rows.find_question(connection, question.number)
        return view(QuestionView, settled), await rows.run_number(connection, question.number)

    settled, run = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("run-input", "question", f"run:{run}", f"task:{settled.task}")
    return settled


def _decision(*, allow: bool, deny: bool, always: bool) -> rows.Decision | None:
    chosen: list[rows.Decision] = []
    for name, given in (("allow", allow), ("deny", deny), ("always", always)):
        if given:
            chosen.append(name)  # type: ignore[arg-type]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} contradict each other", "choose one")
    return chosen[0] if chosen else None


def _check_open(question: rows.Question) -> None:
    if question.status == "answered":
        raise ConflictError(
            f"question {question.number} was answered by {question.answered_by}: {question.decision or question.answer}"
        )
    if question.status == "expired":
        raise ConflictError(
            f"question {question.number} has expired: its run ended", f"`qd task show {question.task}` says how"
        )


def _checked(question: rows.Question, text: str | None, decision: rows.Decision | None, *, free: bool) -> str | None:
    """The answer as it goes to the agent. Raises UsageError for one that does not fit the question."""
    given = text.strip() if text else None
    if question.kind == "permission":
        if decision is None:
            raise UsageError(
                f"question {question.number} asks for permission", "answer with --allow, --deny or --always"
            )
        return given
    if decision is not None:
        raise UsageError(f"question {question.number} does not ask for permission", "answer with a TEXT")
    if not given:
        raise UsageError(f"question {question.number} needs a TEXT", _choices(question))
    if not question.options or free:
        return given
    for option in question.options:
        if option.casefold() == given.casefold():
            return option
    if given.isdecimal() and 1 <= int(given) <= len(question.options):
        return question.options[int(given) - 1]
    raise UsageError(f"{given[:80]!r} is not among the options of question {question.number}", _choices(question))


def _choices(question: rows.Question) -> str:
    if not question.options:
        return "say what the agent is to do"
    shown = ", ".join(f"{place} {option}" for place, option in enumerate(question.options, start=1))
    return f"choose one of: {shown}; or say it in words of your own with --free"
