"""Plain `qd`."""

from tests.command_line import CommandLine


async def test_plain_qd_without_a_terminal_says_that_the_screen_needs_one(qd: CommandLine) -> None:
    outcome = await qd()
    assert outcome.code == 2
    assert "needs a terminal" in outcome.err
