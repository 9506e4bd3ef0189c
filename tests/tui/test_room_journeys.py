"""Journeys among budgets and knowledge by keyboard alone: what is done on the screen is asserted in the database."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.commands.table import invoke
from tests.tui.screen_kit import at_the_screen, says, seen, settled, type_, until, value_of
from tests.tui.world import opener
from tui.screens.budgets import AllBudgets, BudgetsScreen, SpentOn
from tui.screens.forms import FormScreen
from tui.screens.knew import KnewScreen
from tui.screens.knowledge import KnowledgeList, KnowledgeScreen, Uses
from tui.screens.run_screen import RunScreen
from tui.widgets.dialogs import Ask, Choose, Confirm
from tui.widgets.page import Page
from tui.widgets.rows import Rows


async def _budget(pilot: Any, key: str) -> AllBudgets:
    await pilot.press("g", "b")
    await until(lambda: isinstance(pilot.app.screen, BudgetsScreen), pilot)
    await settled(pilot)
    rows: AllBudgets = pilot.app.screen.query_one(AllBudgets)
    place = list(rows.keys).index(key)
    await pilot.press("0", *str(place + 1), "home")
    assert rows.at == place
    return rows


async def _fill(pilot: Any, text: str) -> None:
    await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
    await pilot.press("ctrl+u")
    await type_(pilot, text)
    await pilot.press("enter")


async def test_a_limit_is_raised_and_taken_back(rich: str, tmp_path: Path) -> None:
    hard = "select hard / 1000000 from budget where scope = 'service' and key = 'anthropic'"
    kept = "select array[soft / 1000000, starts_on] from budget where scope = 'service' and key = 'anthropic'"
    async with at_the_screen(rich, tmp_path) as pilot:
        before = await value_of(rich, kept)
        await _budget(pilot, "service:anthropic:usd:month")
        await pilot.press("plus")
        await _fill(pilot, "250")
        await says(pilot, "limit of anthropic is $250.00 per month")
        assert await value_of(rich, hard) == 250
        assert await value_of(rich, kept) == before
        await pilot.press("u")
        await says(pilot, "taken back")
        assert await value_of(rich, hard) == 200


async def test_an_amount_that_is_none_is_refused_while_one_types(rich: str, tmp_path: Path) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        await _budget(pilot, "service:anthropic:usd:month")
        await pilot.press("plus")
        await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
        await pilot.press("ctrl+u")
        await type_(pilot, "-3")
        await until(lambda: "an amount is zero or more" in seen(pilot.app), pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Ask)


async def test_a_service_is_suspended_and_resumed_from_the_deck(rich: str, tmp_path: Path) -> None:
    suspended = "select suspended from service where name = 'anthropic'"
    async with at_the_screen(rich, tmp_path) as pilot:
        await pilot.press("5")
        await settled(pilot)
        rows = pilot.app.screen.query_one("#budgets", Rows)
        await pilot.press("s")
        await says(pilot, "service anthropic is suspended")
        assert await value_of(rich, suspended) is True
        await until(lambda: rows.row().status == "suspended", pilot)
        await settled(pilot)
        await pilot.press("r")
        await says(pilot, "service anthropic is active")
        assert await value_of(rich, suspended) is False


async def test_a_limit_is_removed_only_when_that_is_meant(rich: str, tmp_path: Path) -> None:
    count = "select count(*) from budget where scope = 'project' and key = 'harbour'"
    async with at_the_screen(rich, tmp_path) as pilot:
        await _budget(pilot, "project:harbour:usd:month")
        await pilot.press("delete")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await until(lambda: "harbour, $120.00 per month" in seen(pilot.app), pilot)
        await pilot.press("n")
        await says(pilot, "nothing was done")
        assert await value_of(rich, count) == 1
        await pilot.press("delete")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await pilot.press("y")
        await until(lambda: pilot.app.undos, pilot)
        assert await value_of(rich, count) == 0
        await pilot.press("u")
        await says(pilot, "taken back")
        assert (
            await value_of(rich, "select soft / 1000000 from budget where scope = 'project' and key = 'harbour'") == 90
        )


async def test_a_new_limit_is_set_in_a_form(rich: str, tmp_path: Path) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        await _budget(pilot, "service:anthropic:usd:month")
        await pilot.press("c")
        await until(lambda: isinstance(pilot.app.screen, FormScreen), pilot)
        await type_(pilot, "project")
        await pilot.press("tab")
        await type_(pilot, "quay")
        await pilot.press("tab")
        await type_(pilot, "7")
        await pilot.press("ctrl+s")
        await until(lambda: isinstance(pilot.app.screen, BudgetsScreen), pilot)
        assert await value_of(rich, "select hard from budget where scope = 'project' and key = 'quay'") == 7_000_000


async def test_what_was_spent_is_seen_from_every_side_and_alerts_are_put_away(rich: str, tmp_path: Path) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        await _budget(pilot, "service:anthropic:usd:month")
        assert "not delivered" in seen(pilot.app)
        await pilot.press("3", "w", "w")
        spent: SpentOn = pilot.app.screen.query_one(SpentOn)
        assert spent.by == "agent"
        await pilot.press("4", "v")
        await until(lambda: pilot.app.said, pilot)
        await settled(pilot)
        assert await value_of(rich, "select count(*) from alert where seen_at is null") == 0
        await until(lambda: "none new" in seen(pilot.app), pilot)


async def _knowledge(pilot: Any) -> KnowledgeList:
    await pilot.press("g", "k")
    await until(lambda: isinstance(pilot.app.screen, KnowledgeScreen), pilot)
    await settled(pilot)
    rows: KnowledgeList = pilot.app.screen.query_one(KnowledgeList)
    return rows


async def test_what_is_typed_is_found_and_previewed(rich: str, tmp_path: Path) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        await pilot.press("slash")
        await type_(pilot, "cents")
        await until(lambda: [rows.rows[key].category for key in rows.keys] == ["lesson"], pilot)
        await pilot.press("enter")
        await until(lambda: "use Decimal from the first" in pilot.app.screen.query_one("#preview", Page).text(), pilot)
        await pilot.press("escape")


async def test_a_search_that_is_typed_on_gives_up_the_one_before(
    rich: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        await _knowledge(pilot)
        asked: list[str] = []
        plain = pilot.app.store.ask

        async def ask(name: str, /, **arguments: Any) -> Any:
            if name == "knowledge.search":
                asked.append(arguments["text"])
            return await plain(name, **arguments)

        monkeypatch.setattr(pilot.app.store, "ask", ask)
        await pilot.press("slash")
        await type_(pilot, "rates of the bank")
        await until(lambda: "rates of the bank" in asked, pilot)
        assert len(asked) < len("rates of the bank")


async def test_proposals_are_accepted_and_refused_in_one_list(rich: str, tmp_path: Path) -> None:
    state = "select state from memory where title = $1"
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        await pilot.press("h", "h")
        await until(lambda: len(rows.keys) == 2 and rows.row() is not None and rows.row().state == "proposed", pilot)
        first = rows.row().title
        await pilot.press("a")
        await until(lambda: len(rows.keys) == 1, pilot)
        assert await value_of(rich, state, first) == "active"
        second = rows.row().title
        await pilot.press("x")
        await until(lambda: not rows.keys, pilot)
        assert await value_of(rich, state, second) == "refused"
        assert not pilot.app.undos  # taking it back would make it hold
        await until(lambda: "No proposals" in seen(pilot.app), pilot)


async def test_votes_are_cast_and_a_deleted_item_comes_back(rich: str, tmp_path: Path) -> None:
    votes = "select array[uses, wins] from memory where title = 'Money is Decimal, everywhere.'"
    state = "select state from memory where title = 'Money is Decimal, everywhere.'"
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        uses, wins = await value_of(rich, votes)
        await pilot.press("h", "h", "h", "h", "j")
        await until(lambda: rows.row() is not None and rows.row().title.startswith("Money is"), pilot)
        await pilot.press("plus")
        await says(pilot, f"{wins + 1} of {uses + 1}")
        await pilot.press("minus")
        await says(pilot, f"{wins + 1} of {uses + 2}")
        assert await value_of(rich, votes) == [uses + 2, wins + 1]
        await pilot.press("delete")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await pilot.press("y")
        await says(pilot, "deleted")
        assert await value_of(rich, state) == "deleted"
        await pilot.press("u")
        await says(pilot, "taken back")
        assert await value_of(rich, state) == "active"


async def test_an_item_is_changed_in_the_editor_and_its_history_says_so(rich: str, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "Slugs are ASCII, and never longer than 60 letters." > "$1"\n')
    editor.chmod(0o755)
    async with at_the_screen(rich, tmp_path) as pilot:
        pilot.app.store.context.environ["EDITOR"] = str(editor)
        rows = await _knowledge(pilot)
        await pilot.press("slash")
        await type_(pilot, "pages without headings")
        await until(lambda: rows.row() is not None and rows.row().title == "Pages without headings", pilot)
        await pilot.press("enter", "e")
        await says(pilot, "is changed")
        assert await value_of(rich, "select content from memory where title = 'Pages without headings'") == (
            "Slugs are ASCII, and never longer than 60 letters."
        )
        preview = pilot.app.screen.query_one("#preview", Page)
        await until(lambda: "history" in preview.text() and "never longer" in preview.text(), pilot)


async def test_what_was_read_from_a_file_is_not_opened_for_a_change_that_would_be_lost(
    rich: str, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ntouch "{opened}"\n')
    editor.chmod(0o755)
    await value_of(rich, "update memory set kind = 'documentation' where origin = 'file' returning number")
    async with at_the_screen(rich, tmp_path) as pilot:
        pilot.app.store.context.environ["EDITOR"] = str(editor)
        rows = await _knowledge(pilot)
        await pilot.press("l", "l")
        await until(lambda: any(row.origin == "file" for row in rows.rows.values()), pilot)
        rows.go_to_key(next(row.number for row in rows.rows.values() if row.origin == "file"))
        await settled(pilot)
        await pilot.press("e")
        await says(pilot, "read from a file")
        assert not opened.exists()
        await pilot.press("delete")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await pilot.press("y")
        await says(pilot, "deleted")
        await pilot.press("u")
        await says(pilot, "taken back")
        assert await value_of(rich, "select state from memory where origin = 'file'") == "active"


async def test_what_was_written_and_not_taken_is_what_the_next_edit_goes_on_with(rich: str, tmp_path: Path) -> None:
    twin = await value_of(rich, "select content from memory where title = 'Pages without headings'")
    await value_of(
        rich, "update memory set title = 'Pages without headings' where title = 'When rates change' returning number"
    )
    await value_of(
        rich,
        "update memory set kind = 'requirement', corpus = (select corpus from memory where content = $1) where content like '## Rates%' returning number",
        twin,
    )
    editor, seen_by = tmp_path / "editor", tmp_path / "seen"
    editor.write_text(f'#!/bin/sh\ncp "$1" "{seen_by}"\nprintf "%s" "{twin}" > "$1"\n')
    editor.chmod(0o755)
    async with at_the_screen(rich, tmp_path) as pilot:
        pilot.app.store.context.environ["EDITOR"] = str(editor)
        rows = await _knowledge(pilot)
        await pilot.press("l", "l", "l")
        await until(lambda: any(row.snippet.startswith("## Rates") for row in rows.rows.values()), pilot)
        rows.go_to_key(next(row.number for row in rows.rows.values() if row.snippet.startswith("## Rates")))
        await settled(pilot)
        await pilot.press("e")
        await says(pilot, "says the same already")
        assert seen_by.read_text().startswith("## Rates")
        pilot.app.said = None
        await pilot.press("e")
        await says(pilot, "says the same already")
        assert seen_by.read_text() == twin


async def test_a_contradiction_is_shown_side_by_side_and_one_of_both_stands(rich: str, tmp_path: Path) -> None:
    async with opener(rich, tmp_path)() as context:
        texts = ("Use floats for amounts of money.", "Never use floats for amounts of money.")
        first, second = [
            await invoke(context, "knowledge.add", {"text": (text,), "category": "standard"}) for text in texts
        ]
    state = "select state from memory where number = $1"
    async with at_the_screen(rich, tmp_path, size=(200, 50)) as pilot:
        rows = await _knowledge(pilot)
        await until(lambda: "proposals 3" in seen(pilot.app), pilot)
        await pilot.press("h", "h")
        await until(lambda: len(rows.keys) == 3, pilot)
        await pilot.press("G")
        page = pilot.app.screen.query_one("#preview", Page)
        await until(
            lambda: any("Use floats" in line and "Never use" in line for line in page.text().split("\n")), pilot
        )
        await pilot.press("a")
        await pilot.press("w")
        await until(lambda: isinstance(pilot.app.screen, Choose), pilot)
        await type_(pilot, f"#{second.number}")
        await pilot.press("enter")
        await says(pilot, f"#{first.number} is superseded by #{second.number}")
        await until(lambda: len(rows.keys) == 2, pilot)
        assert await value_of(rich, state, first.number) == "superseded"
        await pilot.press("u")
        await until(lambda: len(rows.keys) == 3, pilot)
        await pilot.press("G", "w")
        await until(lambda: isinstance(pilot.app.screen, Choose), pilot)
        await type_(pilot, "both")
        await pilot.press("enter")
        await until(lambda: len(rows.keys) == 2, pilot)
        assert await value_of(rich, "select count(*) from contradiction where stands_by is not null") == 1


async def test_what_a_proposal_changes_of_the_standards_is_seen_before_it_is_accepted(
    rich: str, tmp_path: Path
) -> None:
    await value_of(
        rich,
        "update memory set doubt = 'lesson 1 is deleted' where title = 'Run the tests that the project names' returning number",
    )
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        await pilot.press("h", "h")
        await until(lambda: len(rows.keys) == 3 and rows.row() is not None, pilot)
        page = pilot.app.screen.query_one("#preview", Page)
        await until(lambda: "+- " in page.text(), pilot)
        await pilot.press("G")
        await until(lambda: rows.row().title.startswith("take out: Run the tests"), pilot)
        await until(lambda: "-- Tests of a project" in page.text() and "to be taken out" in page.text(), pilot)
        await pilot.press("a")
        await until(lambda: len(rows.keys) == 2, pilot)
        state = "select state from memory where title = 'Run the tests that the project names'"
        assert await value_of(rich, state) == "deprecated"


async def test_a_cold_item_is_warmed_with_one_key(rich: str, tmp_path: Path) -> None:
    await value_of(rich, "update memory set cold = true where title = 'Pages without headings' returning number")
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        await pilot.press("slash")
        await type_(pilot, "table of contents")
        await until(lambda: rows.row() is not None and rows.row().title == "Pages without headings", pilot)
        await pilot.press("enter", "r")
        await says(pilot, "is active")
        assert not await value_of(rich, "select cold from memory where title = 'Pages without headings'")


async def test_the_source_of_code_is_one_key_away(rich: str, tmp_path: Path) -> None:
    repo, opened = tmp_path / "harbour", tmp_path / "opened"
    (repo / "harbour").mkdir(parents=True)
    (repo / "harbour" / "amounts.py").write_text("x = 1\n")
    editor = tmp_path / "vi"
    editor.write_text(f'#!/bin/sh\necho "$@" > "{opened}"\n')
    editor.chmod(0o755)
    await value_of(rich, "update project set path = $1 where id = 'harbour' returning id", str(repo))
    async with at_the_screen(rich, tmp_path) as pilot:
        pilot.app.store.context.environ["EDITOR"] = str(editor)
        rows = await _knowledge(pilot)
        await pilot.press("l")
        await until(lambda: rows.row() is not None and rows.row().category == "code", pilot)
        await pilot.press("s")
        await until(opened.exists, pilot)
        assert opened.read_text().split() == ["+12", str(repo / "harbour" / "amounts.py")]


async def test_from_a_task_to_what_it_knew_to_who_else_knew_it(rich: str, tmp_path: Path) -> None:
    async with at_the_screen(rich, tmp_path) as pilot:
        pilot.app.screen.focus_panel("queue")
        pilot.app.screen.query_one("#queue").go_to_key(3)
        await settled(pilot)
        await pilot.press("K")
        await until(lambda: isinstance(pilot.app.screen, KnewScreen), pilot)
        await settled(pilot)
        assert "near harbour/amounts.py" in seen(pilot.app)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, KnowledgeScreen), pilot)
        await settled(pilot)
        uses = pilot.app.screen.query_one(Uses)
        await until(lambda: uses.keys and uses.keys[0] == "13.3", pilot)
        await pilot.press("3", "enter")
        await until(lambda: isinstance(pilot.app.screen, RunScreen), pilot)


async def test_a_repository_is_read_from_the_screen(rich: str, tmp_path: Path) -> None:
    repo = tmp_path / "boats"
    repo.mkdir()
    (repo / "boats.py").write_text('def launch(boat):\n    """Put a boat into the water."""\n    return boat\n')
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"),
    ):
        subprocess.run(["git", "-C", str(repo), *words], check=True, env=environ)
    async with opener(rich, tmp_path)() as context:
        await invoke(context, "project.add", {"repo": str(repo), "id": "boats"})
    async with at_the_screen(rich, tmp_path) as pilot:
        rows = await _knowledge(pilot)
        await pilot.press("i")
        await type_(pilot, "boats")
        await pilot.press("enter")
        await says(pilot, "knowledge index")
        await pilot.press("l")
        await until(lambda: any(row.path == "boats.py" for row in rows.rows.values()), pilot)


@pytest.mark.parametrize(
    ("key", "top"),
    [("agent:claude:tokens:month", "9,000,000"), ("day::usd:day", "$25.00"), ("project:lantern:usd:week", "$40.00")],
)
async def test_budgets_of_any_unit_and_period_burn_down(seen_rich: str, tmp_path: Path, key: str, top: str) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        await _budget(pilot, key)
        await until(lambda: "what is left" in seen(pilot.app), pilot)
        assert f"{top} " in seen(pilot.app).split("what is left")[1]
