"""Knowledge as JSON Lines: what is merged, and what of a hostile file is refused in words."""

import json
from typing import Any

import pytest

from config.errors import UsageError
from tests.knowledge.knowledge_kit import Quay

ID = "018f0000-0000-7000-8000-0000000000{:02x}"
ITEM: dict[str, Any] = {
    "id": ID.format(1),
    "category": "documentation",
    "title": "t",
    "content": "c",
    "updated_at": "2026-01-01T00:00:00+00:00",
}


def pattern(number: int, slug: str, **more: Any) -> dict[str, Any]:
    details = {"slug": slug, "template": "x"}
    return ITEM | {"id": ID.format(number), "category": "pattern", "title": slug, "details": details} | more


async def take(quay: Quay, *lines: Any) -> Any:
    """Import these lines; a text goes as it is."""
    path = quay.folder / "lines.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return await quay.do("knowledge.import", file=str(path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"category": "lesson"}, "a lesson has details"),
        ({"category": "lesson", "details": {"type": 3, "error": "x"}}, "type"),
        ({"category": "lesson", "details": {"type": "x"}}, "error"),
        ({"category": "pattern", "details": {"slug": "A B", "template": "x"}}, "slug"),
        ({"category": "pattern", "details": {"slug": "a"}}, "template"),
        ({"category": "decision", "details": {"question": "q", "chosen": "c", "outcome": "fine"}}, "outcome"),
        ({"category": "decision", "details": {"question": "q", "chosen": "c", "pull_request": 10**12}}, "pull_request"),
        ({"category": "poem"}, "category"),
        ({"uses": 10**12}, "uses"),
        ({"uses": -5}, "uses"),
        ({"uses": 1, "wins": 3}, "helped 3 times"),
        ({"content": "a\0b"}, "content: holds a NUL"),
        ({"title": "a\ud800b"}, "title: input should be a valid string"),
        ({"tags": ["a\0b"]}, "tags"),
        ({"source": None}, "source"),
        ({"title": ""}, "title"),
        ({"origin": "file"}, "origin"),
        ({"state": "gone"}, "state"),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at"),
        ({"valid_from": "0001-01-01T00:00:00+00:00"}, "valid_from"),
        ({"updated_at": None}, "changed last"),
        ({"project": "../x"}, "project"),
        ({"id": "x"}, "id"),
        ({"format": 99}, "format 99"),
    ],
)
async def test_a_line_that_is_wrong_is_refused_in_words_with_its_number(
    quay: Quay, line: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match="line 2 is no item of knowledge") as refused:
        await take(quay, pattern(9, "good"), ITEM | line)
    assert words in refused.value.message
    assert await quay.sql.fetchval("select count(*) from memory") == 0, "all or nothing"


async def test_each_bad_line_is_told(quay: Quay) -> None:
    deep = "[" * 100_000
    with pytest.raises(UsageError) as refused:
        await take(quay, ITEM, [1], "{", deep, ITEM | {"uses": "many"}, *["null"] * 9)
    for words in ("line 2 ", "line 3 ", "line 4 ", "line 5 ", "line 6 ", "8 lines more"):
        assert words in refused.value.message
    assert "\n" not in refused.value.message


async def test_what_is_left_out_is_filled_in(quay: Quay) -> None:
    taken = await take(
        quay,
        ITEM | {"state": "deleted"},
        ITEM | {"id": ID.format(2), "category": "lesson", "details": {"error": "boom 1"}, "content": "a\u2028b"},
        "",
    )
    assert (taken.added, taken.skipped) == (2, 0)
    [lesson] = await quay.do("lesson.list")
    assert (lesson.details["type"], lesson.content) == ("other", "a\u2028b")
    assert await quay.sql.fetchval("select invalid_at = '2026-01-01T00:00:00Z' from memory where state = 'deleted'")
    again = quay.folder / "again.jsonl"
    await quay.do("knowledge.export", file=again)
    assert (await quay.do("knowledge.import", file=str(again))).known == 2, (
        "signs that end lines elsewhere end none here"
    )


async def test_secrets_in_the_columns_of_a_kind_are_left_out(quay: Quay) -> None:
    await take(quay, pattern(1, "sec") | {"details": {"slug": "sec", "template": "key = 'ghp_" + "a1B2" * 9 + "'"}})
    assert "ghp_" not in (await quay.do("pattern.show", id="sec")).details["template"]


async def test_a_name_that_is_taken_leaves_its_line_out_and_not_the_others(quay: Quay) -> None:
    await take(quay, pattern(1, "aa"), pattern(2, "bb"))
    later = {"updated_at": "2026-02-01T00:00:00+00:00"}
    taken = await take(quay, pattern(2, "aa") | later, pattern(3, "aa", title="else"), pattern(4, "cc"))
    assert (taken.added, taken.updated, taken.skipped) == (1, 0, 2)
    assert [one.details["slug"] for one in await quay.do("pattern.list")] == ["cc", "bb", "aa"]


async def test_of_two_installations_the_longer_record_and_the_later_words_stay_in_any_order(quay: Quay) -> None:
    tried = ITEM | {"uses": 5, "wins": 4, "last_used_at": "2026-03-01T00:00:00+00:00"}
    reworded = ITEM | {"content": "newer", "uses": 3, "wins": 3, "updated_at": "2026-02-01T00:00:00+00:00"}
    for order in ((tried, reworded), (reworded, tried)):
        await quay.sql.execute("delete from memory")
        for line in order:
            await take(quay, line)
        [item] = await quay.do("knowledge.list")
        assert (item.content, item.uses, item.wins) == ("newer", 5, 4)
        assert item.last_used_at.month == 3
        assert item.updated_at.month == 2
        assert (await take(quay, *order)).known == 2, "and to do it again changes nothing"


async def test_what_both_installations_have_said_is_one_item_after_an_exchange(quay: Quay) -> None:
    kept = await quay.do("knowledge.add", text=("Write tests.",), category="standard")
    same = ITEM | {"category": "standard", "title": "Write tests.", "content": "Write tests."}
    assert (await take(quay, same)).known == 1
    assert [one.number for one in await quay.do("knowledge.list")] == [kept.number]
    assert (await take(quay, same | {"state": "deleted"})).added == 1, "what was put away takes nobody's place"
    await quay.do("knowledge.delete", id=kept.number)
    assert (await take(quay, same | {"id": ID.format(2)})).added == 1


async def test_what_took_whose_place_is_kept_and_not_overruled_by_an_older_export(quay: Quay) -> None:
    old = await quay.do("knowledge.add", text=("berths from the north",))
    new = await quay.do("knowledge.add", text=("berths from the south",))
    await quay.do("knowledge.supersede", id=old.number, by=new.number)
    exported = quay.folder / "all.jsonl"
    await quay.do("knowledge.export", file=exported)
    await quay.do("knowledge.restore", id=old.number)
    await quay.do("knowledge.import", file=str(exported))
    assert (await quay.do("knowledge.show", id=old.number)).superseded_by is None
    await quay.sql.execute("delete from memory")
    await quay.do("knowledge.import", file=str(exported))
    [gone] = await quay.do("knowledge.list", state=("superseded",))
    assert gone.superseded_by == new.id


async def test_what_came_back_into_its_place_elsewhere_is_superseded_here_no_longer(quay: Quay) -> None:
    old = await quay.do("knowledge.add", text=("berths from the north",))
    new = await quay.do("knowledge.add", text=("berths from the south",))
    await quay.do("knowledge.supersede", id=old.number, by=new.number)
    superseded, restored = quay.folder / "1.jsonl", quay.folder / "2.jsonl"
    await quay.do("knowledge.export", file=superseded)
    await quay.do("knowledge.restore", id=old.number)
    await quay.do("knowledge.export", file=restored)
    await quay.sql.execute("delete from memory")
    for exported in (superseded, restored):
        await quay.do("knowledge.import", file=str(exported))
    back = await quay.do("knowledge.show", id=old.id)
    assert (back.state, back.superseded_by) == ("active", None)
    again = quay.folder / "3.jsonl"
    await quay.do("knowledge.export", file=again)
    assert again.read_text() == restored.read_text()


async def test_what_was_read_from_a_file_is_not_written_over(quay: Quay) -> None:
    await quay.project()
    await quay.do("knowledge.index", project="app")
    there = await quay.sql.fetchval("select id from memory where origin = 'file' and kind = 'code' limit 1")
    taken = await take(quay, ITEM | {"id": str(there), "category": "code", "updated_at": "2999-01-01T00:00:00+00:00"})
    assert taken.skipped == 1


async def test_what_the_database_does_not_take_is_told_with_its_line(quay: Quay) -> None:
    words = " ".join(f"harbour{number:05x}" for number in range(140_000))
    with pytest.raises(UsageError, match="line 1 cannot be stored"):
        await take(quay, ITEM | {"content": words[:990_000], "path": words[990_000:]})
