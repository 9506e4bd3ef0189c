"""The spool reader: every line once, whatever its size, wherever the writing stops."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine import spool
from core.engine.spool import LONGEST_LINE, SpoolReader


def test_a_spool_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert SpoolReader(tmp_path / "none").read(final=True) == []


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntw")
    reader = SpoolReader(path)
    assert [line.content for line in reader.read()] == [b"one"]
    assert reader.position == 4
    with path.open("ab") as file:
        file.write(b"o\n")
    assert [(line.content, line.end) for line in reader.read()] == [(b"two", 8)]


def test_the_last_line_needs_no_newline_once_the_writer_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntwo")
    reader = SpoolReader(path)
    assert [line.content for line in reader.read(final=True)] == [b"one", b"two"]
    assert reader.position == 7
    assert reader.read(final=True) == []


def test_a_new_reader_goes_on_where_the_last_one_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"one\ntwo\nthree\n")
    first = SpoolReader(path).read()[0]
    assert [line.content for line in SpoolReader(path, first.end).read()] == [b"two", b"three"]


def test_a_line_too_long_to_hold_is_described_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    size = 3 * LONGEST_LINE + 17
    path.write_bytes(b"a\n" + b"x" * size + b"\nafter\n")
    reader = SpoolReader(path)
    lines = []
    while more := reader.read():
        lines += more
    assert [line.length for line in lines] == [1, size, 5]
    assert not lines[1].whole
    assert len(lines[1].content) < LONGEST_LINE
    assert lines[2].content == b"after"
    assert reader.position == path.stat().st_size


def test_a_line_longer_than_one_reading_is_no_end_of_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"x" * 700_000 + b"\nlast")
    reader = SpoolReader(path)
    assert [line.length for line in reader.read(final=True)] == [700_000]
    assert [line.content for line in reader.read(final=True)] == [b"last"]
    path.write_bytes(b"y" * (2 * LONGEST_LINE))
    assert [line.length for line in SpoolReader(path).read(final=True)] == [2 * LONGEST_LINE]
    assert SpoolReader(path).read() == []


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=5), chunk=st.integers(1, 64))
def test_lines_and_positions_add_up_to_the_bytes_that_were_written(
    tmp_path_factory, data: bytes, cuts: list[int], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    data = data.replace(b"\r", b"\n")
    reader = SpoolReader(path)
    original, spool._CHUNK = spool._CHUNK, chunk
    try:
        lines = []
        written = 0
        for cut in [*sorted(cuts), len(data)]:
            with path.open("ab") as file:
                file.write(data[written:cut])
            written = max(written, min(cut, len(data)))
            while batch := reader.read():
                lines += batch
        lines += reader.read(final=True)
    finally:
        spool._CHUNK = original
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [line.content for line in lines] == expected
    assert reader.position == len(data)
