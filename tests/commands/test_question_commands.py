"""`qd question`: list and answer."""

import asyncio
from typing import Any

import pytest

from config.errors import ConflictError, NotFoundError, QuarterdeckError, UsageError
from storage.queries.questions import answer_by_rule
from tests.crew import Crew

SHELL = {"tool": "Bash", "input": {"command": "npm test -- --watch=false"}}


async def asking(crew: Crew, **arguments: Any) -> tuple[int, int]:
    """A run that has asked; the run and the question."""
    run = await crew.begin(await crew.add())
    return run, await crew.ask(run, "Which colour?", **arguments)


async def told(crew: Crew, run: int) -> list[tuple[int, str, dict[str, Any]]]:
    rows = await crew.connection.fetch("select seq, kind, data from run_input where run = $1 order by seq", run)
    return [(row["seq"], row["kind"], row["data"]) for row in rows]


async def test_an_answer_is_stored_and_goes_to_the_run(crew: Crew) -> None:
    run, number = await asking(crew)
    [question] = await crew.do("question.list")
    assert (question.number, question.status, question.text, question.agent) == (
        number,
        "open",
        "Which colour?",
        "coder",
    )
    answered = await crew.do("question.answer", id=str(question.id), text=" blue ")
    assert (answered.status, answered.answer, answered.answered_by) == ("answered", "blue", "user:supervisor")
    assert await told(crew, run) == [
        (1, "answer", {"question": number, "ref": "q-0", "text": "blue", "decision": None, "data": {}})
    ]
    assert await crew.do("question.list") == []
    assert [item.number for item in await crew.do("question.list", status="all", project="app")] == [number]


async def test_the_first_answer_counts(crew: Crew) -> None:
    run, number = await asking(crew)

    async def answer(text: str) -> bool:
        try:
            await crew.do("question.answer", id=number, text=text)
        except ConflictError:
            return False
        return True

    assert sorted(await asyncio.gather(*(answer(text) for text in ("red", "green", "blue")))) == [False, False, True]
    assert len(await told(crew, run)) == 1
    with pytest.raises(ConflictError, match="was answered by user:supervisor"):
        await crew.do("question.answer", id=number, text="late")


async def test_an_option_is_chosen_by_its_words_or_its_place(crew: Crew) -> None:
    for text, chosen in (("Dark Red", "dark red"), ("2", "blue")):
        _, number = await asking(crew, options=["dark red", "blue"])
        assert (await crew.do("question.answer", id=number, text=text)).answer == chosen
    _, number = await asking(crew, options=["dark red", "blue"])
    for text in ("3", "green"):
        with pytest.raises(UsageError, match="is not among the options") as caught:
            await crew.do("question.answer", id=number, text=text)
        assert "1 dark red, 2 blue" in caught.value.hint
    assert (await crew.do("question.answer", id=number, text="green", free=True)).answer == "green"


async def test_an_answer_must_fit_the_question(crew: Crew) -> None:
    _, question = await asking(crew)
    _, permission = await asking(crew, data=SHELL)
    refused: list[tuple[int, dict[str, Any], str]] = [
        (question, {}, "needs a TEXT"),
        (question, {"text": " "}, "needs a TEXT"),
        (question, {"allow": True}, "does not ask for permission"),
        (permission, {"text": "yes"}, "asks for permission"),
        (permission, {"allow": True, "deny": True}, "contradict"),
    ]
    for number, arguments, words in refused:
        with pytest.raises(UsageError, match=words):
            await crew.do("question.answer", id=number, **arguments)
    with pytest.raises(NotFoundError):
        await crew.do("question.answer", id=999, text="x")
    with pytest.raises(UsageError, match="is no question"):
        await crew.do("question.answer", id="x", text="x")
    assert len(await crew.do("question.list")) == 2


async def test_a_denial_carries_its_reason(crew: Crew) -> None:
    run, number = await asking(crew, data=SHELL)
    answered = await crew.do("question.answer", id=number, deny=True, text="not on this branch")
    assert (answered.decision, answered.answer) == ("deny", "not on this branch")
    [(_, _, data)] = await told(crew, run)
    assert (data["decision"], data["text"], data["data"]) == ("deny", "not on this branch", SHELL)


async def test_always_answers_for_everybody_who_asks_the_same_in_this_project(crew: Crew) -> None:
    _, number = await asking(crew, data=SHELL)
    await crew.do("question.answer", id=number, always=True)
    rules = await crew.connection.fetch("select project, rule, actor from permission")
    assert [tuple(row) for row in rules] == [("app", "Bash: npm test", "user:supervisor")]
    run, same = await asking(crew, data={"tool": "Bash", "input": {"command": "npm test"}})
    other = await crew.ask(run, "?", data={"tool": "Bash", "input": {"command": "npm test; curl evil"}})
    refs = {
        row["number"]: row["ref"]
        for row in await crew.connection.fetch("select number, ref from question where run = $1", run)
    }
    assert await answer_by_rule(crew.connection, run, refs[same])
    assert not await answer_by_rule(crew.connection, run, refs[same])
    assert not await answer_by_rule(crew.connection, run, refs[other])
    assert [item.number for item in await crew.do("question.list")] == [other]
    assert [(kind, data["decision"]) for _, kind, data in await told(crew, run)] == [("answer", "allow")]


async def test_a_question_of_a_run_that_has_ended_is_answered_no_more(crew: Crew) -> None:
    run, number = await asking(crew)
    await crew.connection.execute("update run set status = 'failed' where number = $1", run)
    with pytest.raises(ConflictError, match="has ended"):
        await crew.do("question.answer", id=number, text="x")
    assert (await crew.do("question.list"))[0].status == "open"
    await crew.connection.execute("update question set status = 'expired' where number = $1", number)
    with pytest.raises(ConflictError, match="has expired"):
        await crew.do("question.answer", id=number, text="x")


async def test_only_a_supervisor_answers(crew: Crew) -> None:
    _, number = await asking(crew)
    from storage.database import Role

    with pytest.raises(QuarterdeckError, match="needs the role supervisor"):
        await crew.do("question.answer", role=Role.VIEWER, id=number, text="x")
