"""The registry of actions: no key means two things, nothing destructive lies under the hand, the file that moves keys is checked, the reference is made from it."""

from pathlib import Path

import pytest

from config.errors import UsageError
from core.commands.table import all_commands, find
from tests.tui.screen_kit import at_the_screen
from tui.actions import GUARDED, Action, Registry, clashes, registry
from tui.arrangement import PANELS
from tui.cheat_sheet import cheat_sheet
from tui.keymap import read_keymap, show_keys
from tui.scopes import GROUNDS


def test_no_key_means_two_things_in_one_place() -> None:
    assert clashes(registry()) == []


def test_a_key_that_would_mean_two_things_is_found() -> None:
    known = registry()
    moved = Registry(
        known.actions, {**known.keys, "task.retry": ("x",), "open.agents": ("t a",), "task.delete": ("j",)}
    )
    found = clashes(moved)
    assert "x is both task.cancel and task.retry" in found
    assert any("t hides t a" in words for words in found)
    assert "task.delete destroys something and must not be on j" in found


def _moved(**keys: str) -> list[str]:
    known = registry()
    return clashes(
        Registry(known.actions, {**known.keys, **{id_.replace("__", "."): (key,) for id_, key in keys.items()}})
    )


def test_a_key_that_a_panel_takes_from_its_screen_is_found_when_it_was_moved() -> None:
    assert "e is both panel.zoom and task.edit" in _moved(panel__zoom="e")
    assert "x is both task.cancel and log.wrap" in _moved(log__wrap="x")


def test_a_key_may_mean_two_things_where_both_can_never_be_wanted() -> None:
    assert _moved(task__cancel="d") == [], "d is a default of the settings, and a setting belongs to no task"
    assert _moved(agent__enable="x") == []


def test_the_example_of_the_reference_works_out(tmp_path: Path) -> None:
    example = cheat_sheet(registry()).partition("```toml\n")[2].partition("```")[0]
    file = tmp_path / "keymap.toml"
    file.write_text(example)
    moved = registry(read_keymap(file, registry().actions))
    assert moved.keys["task.cancel"] != registry().keys["task.cancel"]
    assert clashes(moved) == []


@pytest.mark.parametrize(
    ("written", "pressed"),
    [
        ("shift+a", "A"), ("Shift+A", "A"), ("ctrl+O", "ctrl+o"), ("CTRL+shift+Up", "ctrl+shift+up"), ("shift+ctrl+up", "ctrl+shift+up"),
        ("esc", "escape"), ("PgDn", "pagedown"), ("g shift+t", "g T"), ("alt+x", "alt+x"), ("G", "G"), ("+", "+"), ("ctrl++", "ctrl++"), ("F2", "f2"),
    ],
)  # fmt: skip
def test_a_key_is_what_is_pressed_however_it_is_spelled(tmp_path: Path, written: str, pressed: str) -> None:
    file = tmp_path / "keymap.toml"
    file.write_text(f'[keys]\n"task.cancel" = "{written}"\n')
    assert read_keymap(file, registry().actions)["task.cancel"] == (pressed,)


async def test_the_table_of_places_is_what_the_screens_are(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        app = pilot.app
        known = {scope for entry in app.registry.actions.values() for scope in entry.scopes} - {"app"}

        def held() -> None:
            scopes = known & set(app.place().scopes)
            assert any(scopes <= frozenset().union(*ground) for ground in GROUNDS), scopes

        for panel in PANELS:
            app.screen.focus_panel(panel)
            await pilot.pause()
            held()
        for what, names in (
            ("agents", {}), ("settings", {}), ("audit", {}), ("doctor", {}), ("knowledge", {}), ("budgets", {}), ("analytics", {}),
            ("task", {"task": "8"}), ("run", {"run": "8.1"}), ("review", {"task": "5"}), ("knew", {"task": "8"}), ("question", {"question": "1"}),
        ):  # fmt: skip
            app.open(what, **names)
            await pilot.pause()
            for key in ("", "tab", "tab", "tab"):
                await pilot.press(*([key] if key else []))
                await pilot.pause()
                held()
            app.pop_screen()


def test_whatever_destroys_asks_and_says_what_is_lost() -> None:
    for entry in registry().actions.values():
        if entry.command is None:
            continue
        row = find(entry.command)
        if row.destructive and not entry.id.startswith(("replay.", "form.")):
            assert entry.loses is not None, f"{entry.id} does not ask"
        if entry.destructive:
            assert not GUARDED & set(entry.keys)


def test_every_action_says_what_it_does() -> None:
    for entry in registry().actions.values():
        assert entry.help.endswith("."), entry.id


def test_every_command_of_the_table_can_be_reached() -> None:
    """By an action, by the palette or by the line: the last two are made from the table."""
    names = {row.name for row in all_commands()}
    for entry in registry().actions.values():
        assert entry.command is None or entry.command in names


def test_the_keymap_moves_keys_and_takes_them_away(tmp_path: Path) -> None:
    file = tmp_path / "keymap.toml"
    file.write_text('[keys]\n"task.cancel" = "g x"\n"quit.now" = "none"\n"help.show" = ["?", "f1"]\n')
    known = registry(read_keymap(file, registry().actions))
    assert known.keys["task.cancel"] == ("g x",)
    assert known.keys["quit.now"] == ()
    assert known.keys_of("help.show") == "?/f1"
    assert clashes(known) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[keys]\n", ""),
        ('[keys]\n"task.cancle" = "x"\n', "there is no action 'task.cancle'; did you mean task.cancel?"),
        ('[keys]\n"task.cancel" = 3\n', "task.cancel is 3"),
        ('[keys]\n"task.cancel" = "ctrl+nonsense"\n', "'ctrl+nonsense' is no key"),
        ('[keys]\n"task.cancel" = ""\n', "empty key"),
        ('[keys]\n"task.cancel" = "shift+1"\n', "'shift+1' cannot be told"),
        ('[keyz]\n"task.cancel" = "x"\n', "'keyz' is not the table [keys]"),
        ("[keys", "is no TOML"),
    ],
)
def test_a_keymap_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "keymap.toml"
    file.write_text(text)
    if not words:
        assert read_keymap(file, registry().actions) == {}
        return
    with pytest.raises(UsageError) as caught:
        read_keymap(file, registry().actions)
    assert words in caught.value.sentence()
    assert str(file) in caught.value.sentence()


def test_keys_are_shown_as_people_read_them() -> None:
    assert show_keys(("j", "down", "g t", "ctrl+o")) == "j/↓/g t/^o"


def test_the_reference_of_keys_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "keys.md"
    assert page.read_text("utf-8") == cheat_sheet(registry()), "python -P -m tui.cheat_sheet"


def test_an_action_with_a_key_of_its_own_is_on_the_page() -> None:
    entry: Action = registry().actions["task.cancel"]
    assert f"`{entry.id}`" in cheat_sheet(registry())
