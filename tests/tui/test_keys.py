"""The registry of actions: no key means two things, nothing destructive lies under the hand, the file that moves keys is checked, the reference is made from it."""

from pathlib import Path

import pytest

from config.errors import UsageError
from core.commands.table import all_commands, find
from tui.actions import GUARDED, Action, Registry, clashes, registry
from tui.cheat_sheet import cheat_sheet
from tui.keymap import read_keymap, show_keys


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
