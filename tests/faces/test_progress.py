"""Long work shows how far it is, on a terminal and nowhere else."""

import io

from core.faces.progress import Bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


async def test_a_terminal_sees_how_far_the_work_is() -> None:
    stream = Terminal()
    async with Bar(stream) as bar:
        for done in range(0, 101, 20):
            bar("index of app", done, 100)
    assert "index of app" in stream.getvalue()
    assert "/100" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in stream.getvalue(), "the cursor is back"


async def test_what_is_no_terminal_gets_nothing() -> None:
    for stream, shown in ((io.StringIO(), True), (Terminal(), False)):
        async with Bar(stream, shown=shown) as bar:
            bar("index of app", 1, 2)
        assert stream.getvalue() == ""
