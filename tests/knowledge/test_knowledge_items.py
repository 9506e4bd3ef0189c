"""Items of knowledge: added, found, changed, deleted, brought back, each with its history."""

import json
from typing import Any

import pytest

from config.errors import ConflictError, ForbiddenError, NotFoundError, UsageError
from core.knowledge.kinds import normalise, render, signature, telling_lines
from storage.database import Role
from storage.queries import knowledge_search
from tests.knowledge.knowledge_kit import Quay


async def test_what_is_added_is_found_by_any_of_its_words(quay: Quay) -> None:
    added = await quay.do("knowledge.add", text=("Retry a call at most maxRetries times",), tag=("net",))
    assert (added.category, added.state, added.project) == ("documentation", "active", None)
    [hit] = await quay.do("knowledge.search", text="how many retries are there")
    assert hit.id == added.id
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["Retry", "Retries"]
    assert hit.mode == "words"
    assert (await quay.do("knowledge.search", text="max_retries"))[0].id == added.id, "identifiers are taken apart"
    assert await quay.do("knowledge.search", text="zebra") == []


async def test_an_item_of_a_project_is_not_found_in_another(quay: Quay) -> None:
    await quay.project("app", {"a": "x\n"})
    await quay.project("other", {"a": "x\n"})
    await quay.do("knowledge.add", text=("berths are numbered",), project="app")
    await quay.do("knowledge.add", text=("berths are for ships",))
    assert await quay.found("berths", project="other") == ["berths are for ships"]
    assert len(await quay.found("berths", project="app")) == 2
    with pytest.raises(NotFoundError):
        await quay.found("berths", project="nowhere")


async def test_a_deleted_item_is_found_by_nobody_until_it_is_restored(quay: Quay) -> None:
    item = await quay.do("knowledge.add", text=("harbour dues are paid in advance",))
    deleted = await quay.do("knowledge.delete", id=item.number)
    assert (deleted.state, deleted.invalid_at is None) == ("deleted", False)
    assert await quay.found("harbour dues") == []
    assert await quay.sql.fetchval("select count(*) from posting") == 0
    with pytest.raises(ConflictError):
        await quay.do("knowledge.delete", id=item.number)
    await quay.do("knowledge.restore", id=str(item.id))
    assert await quay.found("harbour dues") == ["harbour dues are paid in advance"]
    changes = await quay.do("knowledge.history", id=item.number)
    assert [(one.action, one.after.get("state")) for one in changes] == [
        ("insert", "active"),
        ("update", "deleted"),
        ("update", "active"),
    ]
    assert changes[1].actor == "user:supervisor"


async def test_an_edited_item_is_found_by_what_it_says_now(quay: Quay) -> None:
    item = await quay.do("knowledge.add", text=("lighthouse",), title="Light")
    await quay.do("knowledge.edit", id=item.number, text="foghorn", tag=("sound",))
    assert await quay.found("lighthouse") == []
    assert await quay.found("foghorn", tag=("sound",)) == ["Light"]
    assert await quay.found("foghorn", tag=("sight",)) == []
    corpus = await quay.sql.fetchrow("select docs, words from corpus")
    assert corpus["docs"] == 1
    assert corpus["words"] == await quay.sql.fetchval("select sum(tf) from posting")


async def test_the_same_is_not_known_twice(quay: Quay) -> None:
    await quay.do("knowledge.add", text=("one truth",))
    with pytest.raises(ConflictError, match="known already as item 1"):
        await quay.do("knowledge.add", text=("one truth",))


@pytest.mark.parametrize(
    "command", ["knowledge.list", "knowledge.status", "pattern.list", "decision.list", "lesson.list"]
)
async def test_of_a_project_that_is_not_there_nothing_is_listed_and_it_is_said(quay: Quay, command: str) -> None:
    with pytest.raises(NotFoundError, match="no project nosuch"):
        await quay.do(command, project="nosuch")
    if command != "knowledge.status":
        with pytest.raises(UsageError):
            await quay.do(command, limit=10**20)


async def test_of_a_file_that_is_taken_in_again_only_what_is_new_is_added(quay: Quay) -> None:
    sections = [f"# Part {n}\n\n" + f"The berth number {n} is long. " * 100 for n in range(4)]
    file = quay.folder / "guide.md"
    file.write_text("\n".join(sections))
    assert len(await quay.do("knowledge.add", file=(file, file))) == 4, "each once"
    with pytest.raises(ConflictError, match="all 4 pieces are known already"):
        await quay.do("knowledge.add", file=(file,))
    file.write_text("\n".join([*sections[:3], "# Part 3\n\n" + "The berth is gone. " * 100]))
    assert (await quay.do("knowledge.add", file=(file,))).title.endswith("Part 3")
    assert len(await quay.do("knowledge.list")) == 5


async def test_secrets_are_left_out(quay: Quay) -> None:
    item = await quay.do("knowledge.add", text=("the key is AKIAABCDEFGHIJKLMNOP, use it",))
    assert "AKIA" not in item.content
    assert "secret left out" in item.content


async def test_a_viewer_reads_and_does_not_write(quay: Quay) -> None:
    await quay.do("knowledge.add", text=("open to all",))
    assert await quay.do("knowledge.search", text="open", role=Role.VIEWER)
    with pytest.raises(ForbiddenError):
        await quay.do("knowledge.add", text=("no",), role=Role.VIEWER)


async def test_text_comes_from_standard_input_and_files(quay: Quay) -> None:
    piped = await quay.do("knowledge.add", text=("-",), stdin="# From a pipe\nmore\n")
    assert piped.title == "From a pipe"
    (quay.folder / "long.md").write_text("".join(f"## Part {n}\n\n{'word ' * 200}\n\n" for n in range(8)))
    parts = await quay.do("knowledge.add", file=(quay.folder / "long.md",))
    assert len(parts) == 8
    with pytest.raises(UsageError):
        await quay.do("knowledge.add")


async def test_a_pattern_is_rendered_by_its_name(quay: Quay) -> None:
    added = await quay.do(
        "pattern.add", title="HTTP route", template="@app.{{verb}}('{{ path }}')", description="a route of the API"
    )
    assert added.details["slug"] == "http-route"
    made = await quay.do("pattern.render", id="http-route", set_=("verb=get", "path={{verb}}"))
    assert made.text == "@app.get('{{verb}}')", "a value is put in as it is"
    with pytest.raises(UsageError, match="no value for path"):
        await quay.do("pattern.render", id="http-route", set_=("verb=get",))
    with pytest.raises(UsageError, match="no placeholder nobody"):
        render("a", {"nobody": "x"})
    changed = await quay.do("pattern.edit", id="http-route", description="an endpoint of the gateway")
    assert await quay.found("gateway endpoint") == [changed.title]


async def test_a_decision_keeps_what_was_not_chosen_and_how_it_turned_out(quay: Quay) -> None:
    added = await quay.do("decision.add", question="Which queue?", chosen="Postgres", alternative=("Redis", "RabbitMQ"))
    await quay.do("decision.edit", id=added.number, outcome="success", lesson="one thing less to run")
    shown = await quay.do("decision.show", id=added.number)
    assert shown.details["alternatives"] == ["Redis", "RabbitMQ"]
    assert "Instead of: Redis; RabbitMQ" in shown.content
    assert shown.details["resolved_at"] is not None
    assert await quay.found("why not RabbitMQ") == ["Which queue?"]
    with pytest.raises(NotFoundError):
        await quay.do("lesson.show", id=added.number)


async def test_the_same_error_is_one_lesson_whatever_the_numbers_in_it(quay: Quay) -> None:
    await quay.do("lesson.add", error="TypeError at 0x7f00 in /home/a/x.py line 12", fix="pass a string")
    with pytest.raises(ConflictError):
        await quay.do("lesson.add", error="TypeError at 0x7f99 in /tmp/b/x.py line 40")
    assert normalise("took 12.5 s on 2026-01-02T03:04:05Z") == "took <n> s on <time>"
    assert signature("test", "a 1") == signature("test", "a  2") != signature("lint", "a 1")


@pytest.mark.parametrize(
    ("once", "again"),
    [
        ("1 failed, 3 passed in 0.53s", "1 failed, 3 passed in 12.07s"),
        ("--- FAIL: TestMoor (0.02s)", "--- FAIL: TestMoor (1.10s)"),
        ("error: out of memory at 512MB after 340ms", "error: out of memory at 1.5GB after 9s"),
    ],
)
def test_how_long_and_how_large_something_was_makes_no_other_error_of_it(once: str, again: str) -> None:
    assert signature("test", once) == signature("test", again)


def test_the_lines_that_tell_what_is_wrong_are_taken_from_the_output() -> None:
    output = (
        "collected 3 items\n....\n\x1b[31mE   AssertionError: 2 != 3\x1b[0m\nsomething else\nFAILED test_a.py::test_b\n"
    )
    assert telling_lines(output) == "E   AssertionError: 2 != 3\nFAILED test_a.py::test_b"
    assert telling_lines("one\ntwo\n") == "one\ntwo"


async def test_an_export_taken_in_twice_or_elsewhere_is_the_same(quay: Quay) -> None:
    await quay.project("app", {"a": "x\n"})
    await quay.do("pattern.add", title="A route", template="{{x}}", project="app")
    await quay.do("decision.add", question="Why?", chosen="so")
    gone = await quay.do("lesson.add", error="it broke", fix="mend it")
    await quay.do("lesson.delete", id=gone.number)
    written = await quay.do("knowledge.export", file=quay.folder / "all.jsonl")
    assert written.items == 3
    first = (quay.folder / "all.jsonl").read_text()
    again = await quay.do("knowledge.import", file=str(quay.folder / "all.jsonl"))
    assert (again.added, again.updated, again.known, again.skipped) == (0, 0, 3, 0)
    await quay.sql.execute("delete from memory")
    taken = await quay.do("knowledge.import", file=str(quay.folder / "all.jsonl"))
    assert (taken.added, taken.skipped) == (3, 0)
    await quay.do("knowledge.export", file=quay.folder / "again.jsonl")
    assert (quay.folder / "again.jsonl").read_text() == first
    assert await quay.found("route") == ["A route"]
    assert await quay.found("it broke") == []
    line = json.loads(first.splitlines()[0]) | {"title": "newer", "updated_at": "2999-01-01T00:00:00+00:00"}
    (quay.folder / "newer.jsonl").write_text(json.dumps(line))
    assert (await quay.do("knowledge.import", file=str(quay.folder / "newer.jsonl"))).updated == 1
    (quay.folder / "bad.jsonl").write_text('{"title": "x"}\n')
    with pytest.raises(UsageError, match="line 1 is no item"):
        await quay.do("knowledge.import", file=str(quay.folder / "bad.jsonl"))


async def test_what_nobody_used_for_long_is_found_when_asked_for_and_told_to_nobody_by_itself(quay: Quay) -> None:
    await quay.project("app", {"a": "x\n"})
    old = await quay.do("lesson.add", error="berth overflow", fix="check the length", project="app")
    kept = await quay.do("knowledge.add", text=("Check every berth.",), category="standard", project="app")
    await quay.sql.execute("update memory set created_at = created_at - interval '200 days'")
    assert (await quay.do("learn", consolidate=True)).cold == 1
    assert await quay.found("berth overflow") == ["berth overflow", "Check every berth."]
    task = await quay.task("Mend the berth overflow")
    told = [item.number for item in (await quay.do("context", task=task, now=True)).items]
    assert told == [kept.number]
    assert (await quay.do("knowledge.show", id=old.number)).cold


async def test_two_changes_of_a_person_to_the_same_file_are_both_kept_by_an_export(quay: Quay) -> None:
    await quay.project("app", {"a": "x\n"})
    for number in range(2):
        added = await quay.do("lesson.add", error=f"changed {'x' * number}", project="app")
        await quay.do("knowledge.vote", id=added.number, word="up")
    await quay.sql.execute("update lesson set error = 'A person changed a'")  # known by the patch, not by these words
    await quay.do("knowledge.export", file=quay.folder / "all.jsonl")
    await quay.sql.execute("delete from memory")
    assert (await quay.do("knowledge.import", file=str(quay.folder / "all.jsonl"))).added == 2


async def test_a_removed_project_takes_its_knowledge_with_it(quay: Quay) -> None:
    await quay.project("app", {"a": "x\n"})
    await quay.do("knowledge.add", text=("only here",), project="app")
    await quay.sql.execute("delete from project")
    assert await quay.sql.fetchval("select count(*) from memory") == 0
    assert await quay.sql.fetchval("select count(*) from posting") == 0


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("knowledge.add", {"text": ("-",)}),
        ("knowledge.edit", {"id": 1, "text": "-"}),
        ("pattern.add", {"title": "P", "template": "-"}),
        ("pattern.edit", {"id": 2, "template": "-"}),
        ("knowledge.import", {"file": "-"}),
        ("project.import", {"file": "-"}),
        ("task.add", {"title": "t", "project": "app", "description": "-"}),
    ],
)
async def test_standard_input_that_is_no_text_is_refused_in_one_sentence(
    quay: Quay, command: str, given: dict[str, Any]
) -> None:
    await quay.project("app", {"a": "x\n"})
    await quay.do("knowledge.add", text=("first",))
    await quay.do("pattern.add", title="second", template="x")
    with pytest.raises(UsageError, match="not valid UTF-8"):
        await quay.do(command, stdin="\udcff\udcfe", **given)


async def test_a_nul_in_standard_input_or_in_a_file_is_replaced(quay: Quay) -> None:
    item = await quay.do("knowledge.add", text=("-",), stdin="a\0b")
    assert item.content == "a\ufffdb"
    assert (await quay.do("knowledge.edit", id=item.number, text="-", stdin="c\0d")).content == "c\ufffdd"
    made = await quay.do("pattern.add", title="P", template="-", stdin="e\0f")
    assert (await quay.do("pattern.render", id=made.number)).text == "e\ufffdf"
    (quay.folder / "odd").write_bytes(b"\x1b[31mg\0h")
    assert (await quay.do("knowledge.add", file=(quay.folder / "odd",))).title.isprintable()


async def test_a_search_is_not_short_because_many_say_the_same(quay: Quay) -> None:
    await quay.sql.execute(
        """insert into memory (corpus, kind, title, content, path)
           select knowledge_corpus(null), 'code'::memory_kind, 'moor', 'pilot pilot pilot', 'copy' || n || '.py' from generate_series(1, 300) n
           union all
           select knowledge_corpus(null), 'code', 'other ' || n, 'a pilot among very many other words ' || n, 'b.py'
             from generate_series(1, 12) n"""
    )
    found = await quay.found("pilot", limit=10)
    assert len(found) == 10
    assert found[0] == "moor"
    assert len(set(found)) == 10


async def test_a_search_is_not_short_because_a_word_is_frequent(quay: Quay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge_search, "MOST_READ", 10)
    await quay.sql.execute(
        """insert into memory (corpus, kind, title, content)
           select knowledge_corpus(null), 'code', 'item ' || n, case when n <= 2 then 'needle ' when n <= 8 then 'berth ' else '' end || 'harbour'
             from generate_series(1, 60) n"""
    )
    found = await quay.found("needle berth harbour", limit=40)
    assert len(found) == 40
    assert set(found[:2]) == {"item 1", "item 2"}
