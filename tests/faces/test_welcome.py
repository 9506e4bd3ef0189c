"""Plain `qd`."""

import pytest

from core.faces import welcome
from tests.command_line import CommandLine


async def test_plain_qd_at_a_terminal_without_a_screen_is_the_help(
    qd: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(welcome, "SCREEN", "core.faces.no_such_screen")
    outcome = await qd(terminal=True)
    assert (outcome.code, outcome.out) == (0, (await qd("help")).out)


async def test_plain_qd_at_a_terminal_becomes_the_screen_with_an_engine_behind_it(
    qd: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoked: list[str] = []
    became: list[list[str]] = []

    async def invoke(_context: object, name: str, _arguments: object) -> None:
        invoked.append(name)

    monkeypatch.setattr(welcome, "SCREEN", "core.engine.__main__")
    monkeypatch.setattr(welcome, "invoke", invoke)

    def become(_program: str, argv: list[str], _environ: object) -> None:
        became.append(argv)
        raise SystemExit

    monkeypatch.setattr("os.execve", become)
    with pytest.raises(SystemExit):
        await qd(terminal=True)
    assert invoked == ["up"]
    assert became[0][1:] == ["-P", "-m", "core.engine"]
    with pytest.raises(SystemExit):
        await qd(terminal=True, QD_ROLE="viewer")
    assert invoked == ["up"]
