"""Items put away and brought back, one in the place of another, twins, cold storage, and the history of each."""

from typing import Any

import asyncpg
import pytest

from config.errors import ConflictError, UsageError
from storage.database import Role
from storage.queries.guard import transact
from tests.knowledge.knowledge_kit import HARBOUR, WHO, Quay


async def texts(quay: Quay, text: str) -> list[int]:
    return [hit.number for hit in await quay.do("knowledge.search", text=text)]


async def tide(quay: Quay) -> list[int]:
    """What is found of one function of the harbour."""
    hits = await quay.do("knowledge.search", text="next high tide")
    return [hit.number for hit in hits if hit.title.startswith("nextHighTide")]


# ── what is read from files ──


async def test_a_piece_of_a_file_that_is_put_away_stays_away_as_long_as_the_file_holds_it_so(quay: Quay) -> None:
    repo = await quay.project()
    await quay.do("knowledge.index", project="app")
    [number] = await tide(quay)
    assert (await quay.do("knowledge.delete", id=number)).state == "deleted"
    repo.commit({"src/tides.py": f"import sun\n\n\n{HARBOUR['src/tides.py']}"})
    await quay.do("knowledge.index", project="app")
    assert await tide(quay) == []
    back = await quay.do("knowledge.restore", id=number)
    assert (back.state, back.first_line) == ("active", 4)
    assert await tide(quay) == [number]
    await quay.do("knowledge.delete", id=number)
    repo.commit({"src/tides.py": HARBOUR["src/tides.py"].replace("highest", "lowest")})
    await quay.do("knowledge.index", project="app")
    [now] = await tide(quay)
    assert now != number
    with pytest.raises(ConflictError, match="no longer holds it"):
        await quay.do("knowledge.restore", id=number)


async def test_what_was_put_away_of_a_file_that_is_gone_does_not_come_back(quay: Quay) -> None:
    repo = await quay.project()
    await quay.do("knowledge.index", project="app")
    [number] = await tide(quay)
    await quay.do("knowledge.delete", id=number)
    repo.commit({}, remove=("src/tides.py",))
    await quay.do("knowledge.index", project="app")
    with pytest.raises(ConflictError, match="no longer holds it"):
        await quay.do("knowledge.restore", id=number)
    with pytest.raises(ConflictError, match="is read from"):
        await quay.do("knowledge.edit", id=1, text="else")


# ── twins ──


async def test_nothing_becomes_the_twin_of_an_item_that_holds(quay: Quay) -> None:
    first = await quay.do("knowledge.add", text=("same words",))
    await quay.do("knowledge.delete", id=first.number)
    again = await quay.do("knowledge.add", text=("same words",))
    other = await quay.do("knowledge.add", text=("other words",))
    for command, given in (
        ("knowledge.restore", {"id": first.number}),
        ("knowledge.edit", {"id": other.number, "text": "same words", "title": "same words"}),
    ):
        with pytest.raises(ConflictError, match=f"item {again.number} says the same") as refused:
            await quay.do(command, **given)
        assert str(again.number) in str(refused.value.hint)
    assert await quay.sql.fetchval("select count(*) from memory where state = 'active' and content = 'same words'") == 1
    assert (await quay.do("knowledge.show", id=other.number)).content == "other words"


async def test_two_patterns_and_two_standards_cannot_be_edited_into_one(quay: Quay) -> None:
    one = await quay.do("pattern.add", title="Mole", template="a {{x}}")
    other = await quay.do("pattern.add", title="Mole", template="b {{x}}", name="mole-2")
    with pytest.raises(ConflictError, match=f"item {one.number} says the same"):
        await quay.do("pattern.edit", id=other.number, template="a {{x}}")
    await quay.project("app", {"a": "x\n"})
    own = await quay.do("knowledge.add", text=("Write tests.",), category="standard", project="app")
    await quay.do("knowledge.add", text=("Write tests.",), category="standard")
    with pytest.raises(ConflictError, match="says the same"):
        await quay.do("knowledge.edit", id=own.number, for_all=True)


# ── names that are taken ──


async def test_what_was_put_away_is_named_when_it_is_added_again_with_the_way_back(quay: Quay) -> None:
    lesson = await quay.do("lesson.add", error="boom 1")
    with pytest.raises(ConflictError, match="already: item 1") as refused:
        await quay.do("lesson.add", error="boom 2")
    assert "qd lesson show 1" in str(refused.value.hint)
    await quay.do("lesson.delete", id=lesson.number)
    with pytest.raises(ConflictError, match="item 1, which is deleted") as refused:
        await quay.do("lesson.add", error="boom 2")
    assert "qd knowledge restore 1" in str(refused.value.hint)
    pattern = await quay.do("pattern.add", title="Mole", template="a")
    await quay.do("pattern.delete", id=pattern.number)
    for command, given in (
        ("pattern.add", {"title": "Other", "template": "b", "name": "mole"}),
        ("pattern.edit", {"id": (await quay.do("pattern.add", title="Pier", template="c")).number, "name": "mole"}),
    ):
        with pytest.raises(ConflictError, match=f"item {pattern.number}, which is deleted"):
            await quay.do(command, **given)
    assert await quay.sql.fetchval("select count(*) from memory") == 3, "a refusal leaves nothing behind"


async def test_a_lesson_is_not_moved_onto_the_same_lesson_of_another_project(quay: Quay) -> None:
    for name in ("app", "other"):
        await quay.project(name, {"a": "x\n"})
    one = await quay.do("lesson.add", error="boom", project="app")
    other = await quay.do("lesson.add", error="boom", rule="else", project="other")
    with pytest.raises(ConflictError, match=f"item {one.number}"):
        await quay.do("knowledge.edit", id=other.number, project="app")
    await quay.do("lesson.delete", id=one.number)
    with pytest.raises(ConflictError, match="which is deleted"):
        await quay.do("knowledge.edit", id=other.number, project="app")
    assert (await quay.do("knowledge.edit", id=other.number, for_all=True)).project is None


# ── in the place of another ──


async def test_an_item_that_is_superseded_says_by_what_and_comes_back(quay: Quay) -> None:
    old = await quay.do("knowledge.add", text=("berths are numbered from the north",))
    new = await quay.do("knowledge.add", text=("berths are numbered from the south",))
    moved = await quay.do("knowledge.supersede", id=old.number, by=new.number)
    assert (moved.state, moved.superseded_by) == ("superseded", new.id)
    assert f"item {new.number}" in moved.note
    assert await texts(quay, "berths numbered") == [new.number]
    with pytest.raises(ConflictError, match="takes nobody's place"):
        await quay.do("knowledge.supersede", id=new.number, by=old.number)
    back = await quay.do("knowledge.restore", id=old.number)
    assert (back.state, back.superseded_by) == ("active", None)
    with pytest.raises(ConflictError, match="own place"):
        await quay.do("knowledge.supersede", id=old.number, by=old.number)


# ── cold storage ──


@pytest.fixture
async def cold(quay: Quay) -> int:
    """An item that nobody used for long."""
    item = await quay.do("lesson.add", error="berth overflow", fix="check the length")
    await quay.sql.execute("update memory set created_at = created_at - interval '400 days'")
    assert (await quay.do("learn", consolidate=True)).cold == 1
    number: int = item.number
    return number


async def test_a_hit_says_that_it_is_cold(quay: Quay, cold: int) -> None:
    [hit] = await quay.do("knowledge.search", text="berth overflow")
    assert (hit.number, hit.cold) == (cold, True)


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("knowledge.vote", {"word": "up"}),
        ("lesson.edit", {"rule": "Check the length of the ship."}),
        ("knowledge.edit", {"tag": ("berths",)}),
        ("knowledge.restore", {}),
    ],
)
async def test_whoever_has_to_do_with_a_cold_item_takes_it_out_of_cold_storage(
    quay: Quay, cold: int, command: str, given: dict[str, Any]
) -> None:
    assert not (await quay.do(command, id=cold, **given)).cold
    assert (await quay.do("learn", consolidate=True)).cold == 0, "and it is not put there again at once"


async def test_what_is_brought_back_after_long_is_not_cold(quay: Quay, cold: int) -> None:
    await quay.do("knowledge.delete", id=cold)
    assert not (await quay.do("knowledge.restore", id=cold)).cold
    with pytest.raises(ConflictError, match="is active"):
        await quay.do("knowledge.restore", id=cold)


async def test_to_look_at_an_item_changes_nothing_of_it(quay: Quay, cold: int) -> None:
    assert (await quay.do("knowledge.show", id=cold, role=Role.VIEWER)).cold


# ── history ──


async def test_the_history_of_a_pattern_goes_by_the_item_and_not_by_its_name(quay: Quay) -> None:
    mole = await quay.do("pattern.add", title="Mole", template="a {{x}}")
    await quay.do("pattern.edit", id=mole.number, template="b {{x}}")
    await quay.do("pattern.edit", id=mole.number, name="pier")
    other = await quay.do("pattern.add", title="Other", template="zz", name="mole")

    async def templates(number: int) -> list[Any]:
        changes = await quay.do("knowledge.history", id=number)
        return [one.after["template"] for one in changes if one.kind == "pattern" and "template" in one.after]

    assert await templates(mole.number) == ["a {{x}}", "b {{x}}"]
    assert await templates(other.number) == ["zz"]


async def test_votes_and_cold_storage_are_in_the_history(quay: Quay, cold: int) -> None:
    await quay.do("knowledge.vote", id=cold, word="up")
    await quay.do("knowledge.vote", id=cold, word="down")
    changes = [one for one in await quay.do("knowledge.history", id=cold) if one.action == "update"]
    said = [(one.actor, one.before, one.after) for one in changes if "uses" in one.after]
    assert said == [
        ("user:supervisor", {"uses": 0, "wins": 0}, {"uses": 1, "wins": 1}),
        ("user:supervisor", {"uses": 1, "wins": 1}, {"uses": 2, "wins": 1}),
    ]
    assert [one.after["cold"] for one in changes if "cold" in one.after] == [True, False]


async def test_a_proposal_is_accepted_and_not_brought_back(quay: Quay) -> None:
    item = await quay.do("knowledge.add", text=("words",))
    await quay.sql.execute("update memory set state = 'proposed' where number = $1", item.number)
    with pytest.raises(ConflictError) as refused:
        await quay.do("knowledge.restore", id=item.number)
    assert "qd knowledge accept" in str(refused.value.hint)
    with pytest.raises(UsageError):
        await quay.do("knowledge.edit", id=item.number)


async def test_a_name_that_two_take_at_the_same_moment_is_refused_in_words(quay: Quay) -> None:
    await quay.do("pattern.add", title="Mole", template="a")
    item = await quay.do("knowledge.add", text=("words",))

    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute("insert into pattern (memory, slug, template) values ($1, 'mole', 'b')", item.number)

    with pytest.raises(ConflictError, match="there is a pattern with the same slug already"):
        await transact(quay.db, WHO, work)
