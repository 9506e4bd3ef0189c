"""The diff on the screen: every row exactly as wide as it should be, whatever the files hold."""

import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from config.errors import UsageError
from tests.tui.test_patch import HEAD, LINE
from tui.ink import Ink, Part
from tui.patch import read_patch
from tui.themes import DARK, PALETTES, READABLE, TEXTS, contrast
from tui.widgets.diff_paint import grounds_of
from tui.widgets.diff_rows import View, changed_span, file_rows
from tui.widgets.diff_view import DiffView, Mode


class Bare(DiffView):
    """The view without an app around it."""

    def __init__(self, width: int = 100, palette: str = "dark", *, unicode: bool = True, mode: Mode = "auto") -> None:
        super().__init__()
        self._ink, self._wide, self.mode = Ink(PALETTES[palette], unicode), width, mode

    ink = property(lambda self: self._ink)  # type: ignore[assignment]
    words = property(lambda self: self._ink)  # type: ignore[assignment]
    line_width = property(lambda self: self._wide)  # type: ignore[assignment]
    room = property(lambda _: 20)  # type: ignore[assignment]

    def title_now(self) -> None:
        pass

    def set_length(self, lines: int) -> None:
        pass

    def bring_into_view(self, line: int, *, margin: int = 1) -> None:
        pass

    def scroll_to(self, *_: object, **__: object) -> None:
        pass

    def refresh(self, *_: object, **__: object) -> "Bare":
        return self

    def repaint(self) -> None:
        pass

    def go(self, to: int) -> None:
        self._at = max(0, min(to, len(self.rows) - 1))

    def lines(self) -> list[str]:
        return [self.draw(n, self._wide).text for n in range(len(self.rows))]


def shown(patch: str, width: int = 100, **options: object) -> Bare:
    view = Bare(width, **options)  # type: ignore[arg-type]
    view.show(read_patch(patch), {})
    return view


CHANGE = (
    HEAD
    + "@@ -1,12 +1,12 @@\n"
    + "".join(f" line {n}\n" for n in range(10))
    + "-    return old_name(1)\n-gone\n+    return new_name(1)\n"
)


def test_unchanged_lines_are_folded_and_opened() -> None:
    view = shown(CHANGE)
    assert "7 unchanged lines" in view.lines()[1]
    view.go(1)
    assert view.toggle_fold()
    assert "line 0" in view.lines()[1]
    assert view.row() is not None
    assert view.row().left == 0


def test_the_sides_stand_beside_each_other_where_there_is_room() -> None:
    assert any("old_name" in line and "new_name" in line for line in shown(CHANGE, 160).lines())
    assert not any("old_name" in line and "new_name" in line for line in shown(CHANGE, 100).lines())
    assert any("old_name" in line and "new_name" in line for line in shown(CHANGE, 100, mode="side by side").lines())


def test_a_note_stands_under_its_line_and_in_a_fold_keeps_it_open() -> None:
    view = shown(CHANGE)
    view.set_notes({("x.py", "new", 3): "why this?", ("x.py", "new", 11): "better"})
    lines = [line.strip() for line in view.lines()]
    place = next(n for n, line in enumerate(lines) if "why this?" in line)
    assert "line 2" in lines[place - 1]
    assert "new_name" in lines[next(n for n, line in enumerate(lines) if "better" in line) - 1]
    assert view.step_note(1)
    assert view.spot() is not None
    assert view.spot().number == 3


def test_the_cursor_stays_on_its_line_when_the_layout_changes() -> None:
    view = shown(CHANGE)
    view.go(next(n for n, line in enumerate(view.lines()) if "new_name" in line))
    view.mode = "side by side"
    view._lay_out()
    assert view.spot() is not None
    assert "new_name" in view.spot().text


def test_changes_files_and_matches_are_found_in_either_direction() -> None:
    view = shown(CHANGE + CHANGE.replace("x.py", "y.py"))
    assert view.step_change(1)
    assert view.spot().text.endswith("old_name(1)")
    assert view.step_file(1)
    assert view.patch.files[view.file_here()].path == "y.py"
    assert view.step_change(1)
    assert not view.step_change(1)
    assert view.step_change(-1)
    assert view.file_here() == 0
    view.look_for("new_name")
    assert view.spot().text == "    return new_name(1)"  # type: ignore[union-attr]
    assert asyncio.run(view.next_match(1))
    assert view.file_here() == 1
    with pytest.raises(UsageError, match="nothing in this change"):
        view.look_for("nowhere")
    with pytest.raises(UsageError, match="no regular expression"):
        view.look_for("re:(")


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    text = "\n".join(shown(HEAD + "@@ -0,0 +1,3 @@\n+red \x1b[31m x\n+a\rb\n+x = '\u202ecba'\n").lines())
    assert "␛[31m" in text
    assert "a␍b" in text
    assert "‹U+202E›" in text
    assert not {"\x1b", "\r", "\u202e"} & set(text)


def test_a_blank_that_is_none_is_seen_where_it_is_what_changed() -> None:
    text = "\n".join(shown(HEAD + "@@ -1 +1 @@\n-a\u00a0b\n+a b\n").lines())
    assert "a⍽b" in text
    assert "a b" in text


def test_only_what_differs_is_set_off() -> None:
    assert changed_span("    return old(1)", "    return new(1)") == (11, 14)
    assert changed_span("completely", "different") is None


@pytest.mark.parametrize("palette", [name for name, palette in PALETTES.items() if not palette.ansi])
def test_every_text_is_readable_on_the_grounds_of_a_change(palette: str) -> None:
    grounds = grounds_of(PALETTES[palette])
    for ground in (grounds.added, grounds.added_part, grounds.removed, grounds.removed_part):
        assert ground != PALETTES[palette].ground
        assert min(contrast(getattr(PALETTES[palette], name), ground) for name in TEXTS) >= READABLE


def test_a_hundred_thousand_lines_open_and_move_at_once() -> None:
    body = "".join(f" line {n}\n-    return {n}\n+    return {n} + 'x'  # y\n" for n in range(33_000))
    patch = read_patch(HEAD + f"@@ -1,66000 +1,66000 @@\n{body}")
    view = Bare(120)
    began = time.perf_counter()
    view.show(patch, {})
    opened = time.perf_counter() - began
    began = time.perf_counter()
    for top in range(1000, 90_000, 9000):
        for line in range(top, top + 40):
            view.draw(line, 120)
    painted = (time.perf_counter() - began) / 10
    assert len(view.rows) > 99_000
    assert opened < 5
    assert painted < 1


def test_a_line_of_ten_megabytes_is_a_line() -> None:
    view = shown(HEAD + "@@ -0,0 +1 @@\n+" + "x = 1; " * 1_500_000 + "\n")
    began = time.perf_counter()
    view.draw(1, 100)
    assert time.perf_counter() - began < 2
    assert cell_len(view.draw(1, 100).text) == 100


ODD = st.text(alphabet=st.sampled_from("ab \t\x1b\r\u0301港\u200d🚢e()'\"#:[31m\u202e\u2028"), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lines=st.lists(st.one_of(LINE, ODD.map(lambda text: "+" + text), ODD.map(lambda text: "-" + text), ODD.map(lambda text: " " + text)), max_size=30),
    width=st.integers(24, 210), palette=st.sampled_from(["dark", "light", "ansi", "mono"]), unicode=st.booleans(),
    mode=st.sampled_from(["unified", "side by side"]), left=st.sampled_from([0, 3, 500]), needle=st.sampled_from(["", "a", "re:."]),
)  # fmt: skip
def test_any_diff_is_drawn_in_exactly_its_width(
    lines: list[str], width: int, palette: str, unicode: bool, mode: Mode, left: int, needle: str
) -> None:  # fmt: skip
    view = Bare(width, palette, unicode=unicode, mode=mode)
    view.show(
        read_patch(HEAD + f"@@ -1,{len(lines)} +1,{len(lines)} @@ f\n" + "\n".join(lines)),
        {("x.py", "new", 1): "a note 港 of more than one line " * 3},
    )
    view.shift(left)
    if needle:
        with suppress(UsageError):
            view.look_for(needle)
    for n in range(len(view.rows) + 1):
        strip = view.draw(n, width)
        assert strip.cell_length == cell_len(strip.text) == width
        assert strip.text.isprintable()
        assert unicode or strip.text.isascii()


def test_rows_of_a_patch_without_lines() -> None:
    [file] = read_patch("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n").files
    assert [row.kind for row in file_rows(file, 0, View())] == ["file", "words", "space"]


def _parts(parts: list[Part]) -> str:
    return "".join(text for text, _ in parts)


def test_the_summary_counts() -> None:
    view = Bare()
    view.patch = read_patch(CHANGE)
    assert _parts(view.summary()) == "1 file +1 −2"
    assert grounds_of(DARK).added.startswith("#")
