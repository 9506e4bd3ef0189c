"""How results look to people."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from core.commands.shown import Column
from core.faces.render import Screen, draw, draw_item, duration, relative, size, usd

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    status: str
    cost_usd: Decimal
    count: int
    at: datetime
    note: str | None = None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("status", "status", "state"),
        Column("cost", "cost_usd", "usd"),
        Column("n", "count", "count"),
        Column("when", "at", "time"),
        Column("note", "note"),
    )


@dataclass(frozen=True, slots=True)
class Patch:
    patch: str
    prints: ClassVar[str] = "patch"


def drawn(result: Any, *, width: int | None = None, colour: bool = False, plain: bool = False) -> str:
    out = io.StringIO()
    draw(Screen(out, width, colour, plain, NOW), result)
    return out.getvalue()


def rows() -> Sequence[Row]:
    return [
        Row("one", "in_progress", Decimal("0.5"), 1234, NOW - timedelta(minutes=3)),
        Row("second", "failed", Decimal("1234.5"), 7, NOW + timedelta(hours=2), "why [bold]not[/bold]\x1b[2J\nnext"),
    ]


def test_a_table_is_aligned_with_numbers_at_the_right() -> None:
    assert drawn(rows()).splitlines() == [
        "name    status              cost      n       when  note",
        "one     ● in progress      $0.50  1,234  3 min ago",
        "second  ✗ failed       $1,234.50      7     in 2 h  why [bold]not[/bold]\u241b[2J next",
    ]


def test_glyphs_are_ascii_where_nothing_else_can_be_shown() -> None:
    assert "> in progress" in drawn(rows(), plain=True)


def test_a_state_has_a_colour_on_a_terminal() -> None:
    assert "\x1b[31m✗ failed" in drawn(rows(), colour=True)


def test_what_is_too_wide_is_cut_and_wide_characters_count_twice() -> None:
    wide = [Row("漢字" * 30, "review", Decimal(0), 1, NOW, "x" * 500)]
    from rich.cells import cell_len

    assert all(cell_len(line) <= 80 for line in drawn(wide, width=80).splitlines())


@dataclass(frozen=True, slots=True)
class Wide:
    number: int
    status: str
    title: str
    cost_usd: Decimal
    reason: str | None
    at: datetime
    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "number", "key"),
        Column("status", "status", "state"),
        Column("title", "title"),
        Column("cost", "cost_usd", "usd", spare=1),
        Column("reason", "reason"),
        Column("updated", "at", "time", spare=2),
    )


def test_what_is_no_text_is_never_cut_but_left_out_where_it_is_narrow() -> None:
    wide = [
        Wide(123456, "in_progress", "a title that is long " * 3, Decimal("1.5"), "why it is so", NOW),
        Wide(7, "failed", "short", Decimal(0), "because it had to be", NOW - timedelta(minutes=3)),
    ]
    assert drawn(wide, width=80).splitlines() == [
        "task    status         title                cost  reason                 updated",
        "123456  ● in progress  a title that is l…  $1.50  why it is so               now",
        "7       ✗ failed       short               $0.00  because it had to…   3 min ago",
    ]
    assert drawn(wide, width=55).splitlines()[1] == "123456  ● in progress  a title that i…  why it is so"
    assert drawn(wide, width=40).splitlines()[1] == "123456  ● in progress  a titl…  why it…"


def test_a_column_that_holds_nothing_makes_room_for_the_others() -> None:
    bare = [Wide(1, "review", "a title of some length here", Decimal(0), None, NOW)]
    assert drawn(bare, width=58).splitlines()[0] == "task  status    title                        cost  updated"
    assert "reason" in drawn(bare)


@dataclass(frozen=True, slots=True)
class Told:
    part: str
    words: str
    columns: ClassVar[tuple[Column, ...]] = (Column("part", "part", "key"), Column("what", "words", folds=True))


def test_a_column_that_folds_goes_on_in_the_next_line() -> None:
    text = drawn([Told("git", "it was not found; install git 2.39 or newer"), Told("disk", "fine")], width=30)
    assert text.splitlines() == [
        "part  what",
        "git   it was not found;",
        "      install git 2.39 or",
        "      newer",
        "disk  fine",
    ]


def test_a_long_value_of_one_thing_is_folded_beside_its_name_and_what_is_copied_stays_whole() -> None:
    one = Told("x", "some words " * 4 + "/a/path/that/is/longer/than/the/room/that/there/is")
    assert drawn(one, width=40).splitlines() == [
        "part   x",
        "words  some words some words some words",
        "       some words",
        "       /a/path/that/is/longer/than/the/room/that/there/is",
    ]


def test_one_thing_is_its_fields_without_the_empty_ones() -> None:
    text = drawn(Row("a", "review", Decimal("0.0012"), 5, NOW, "line\nnext \x1b]8;;x"))
    assert text.splitlines()[:4] == ["name      a", "status    ◆ review", "cost usd  $0.0012", "count     5"]
    assert text.splitlines()[-2:] == ["note      line", "          next \u241b]8;;x"]
    assert "note" not in drawn(Row("a", "review", Decimal(0), 5, NOW))


def test_a_diff_is_printed_as_it_is_with_colours_on_a_terminal_only() -> None:
    patch = Patch("diff --git a/x b/x\n@@ -1 +1 @@\n-old\x1b[2J\n+new\n")
    assert drawn(patch) == "diff --git a/x b/x\n@@ -1 +1 @@\n-old\u241b[2J\n+new\n"
    assert "\x1b[32m+new\x1b[0m" in drawn(patch, colour=True)
    assert "\x1b[2J" not in drawn(patch, colour=True)


def test_an_item_of_a_stream_is_one_line_and_what_follows_is_indented() -> None:
    out = io.StringIO()
    draw_item(Screen(out, None, colour=False, ascii=False, now=NOW), rows()[1])
    assert out.getvalue().startswith("second  failed  $1,234.50  7  ")
    assert out.getvalue().endswith("why [bold]not[/bold]\u241b[2J\n    next\n")


def test_units() -> None:
    assert [duration(n) for n in (0.44, 12, 200, 7500, 400_000)] == ["0.4 s", "12 s", "3 min", "2 h 05 min", "4 d"]
    assert [size(n) for n in (0, 999, 1500, 123_456_789, 2 * 10**13)] == ["0 B", "999 B", "1.5 kB", "123 MB", "20.0 TB"]
    assert [usd(n) for n in (0, 0.0042, 0.5, 1234.5)] == ["$0.00", "$0.0042", "$0.50", "$1,234.50"]
    assert relative(NOW - timedelta(seconds=5), NOW) == "5 s ago"
    assert relative(NOW + timedelta(days=3), NOW) == "in 3 d"
