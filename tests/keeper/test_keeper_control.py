"""What may be asked of a keeper, by friends and by others."""

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest

from config.errors import ConflictError, UnavailableError
from core.keeper import client
from core.keeper.control import CLIENT_LIMIT, LINE_LIMIT
from tests.keeper.conftest import Crew, Kept, until

ECHO = "for line in sys.stdin: say('got', line.strip())\nsay('the end')"


async def test_input_is_written_once_however_often_it_is_sent(crew: Crew) -> None:
    kept = await crew.python(ECHO, stdin_open=True)
    assert await client.send(kept.socket, 1, b"one\n")
    assert not await client.send(kept.socket, 1, b"one\n")
    assert await client.send(kept.socket, 5, b"five\n")
    assert not await client.send(kept.socket, 4, b"four\n")
    assert (await client.status(kept.socket))["last_seq"] == 5
    await client.close_stdin(kept.socket)
    await kept.end()
    assert kept.out() == b"got one\ngot five\nthe end\n"


async def test_many_clients_that_repeat_themselves_are_heard_once_each(crew: Crew) -> None:
    kept = await crew.python(ECHO, stdin_open=True)
    for seq in range(1, 11):
        taken = await asyncio.gather(*(client.send(kept.socket, seq, b"%d\n" % seq) for _ in range(8)))
        assert sum(taken) == 1
    await client.close_stdin(kept.socket)
    await kept.end()
    assert kept.out() == b"".join(b"got %d\n" % seq for seq in range(1, 11)) + b"the end\n"


async def test_the_opening_comes_first_whatever_its_size(crew: Crew) -> None:
    opening = b"x" * 3_000_000 + b"\n"
    kept = await crew.python("for line in sys.stdin: say(len(line))", opening=opening, stdin_open=True)
    await client.send(kept.socket, 1, b"ab\n")
    await client.close_stdin(kept.socket)
    await kept.end()
    assert kept.out() == b"3000001\n3\n"


async def test_an_opening_alone_closes_stdin_after_it(crew: Crew) -> None:
    kept = await crew.shell("cat", opening=b"do this")
    assert (await kept.end()).exit_code == 0
    assert kept.out() == b"do this"


async def test_without_an_opening_stdin_is_empty(crew: Crew) -> None:
    kept = await crew.shell("cat; echo done")
    await kept.end()
    assert kept.out() == b"done\n"


async def test_input_for_an_agent_that_does_not_read_is_bounded_and_holds_up_nobody(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000", stdin_open=True)
    for seq in (1, 2, 3):
        await client.send(kept.socket, seq, b"x" * 2_600_000)
    with pytest.raises(ConflictError, match="buffer is full"):
        await client.send(kept.socket, 4, b"x" * 2_600_000)
    assert (await client.status(kept.socket))["last_seq"] == 3


async def test_input_to_an_agent_without_stdin_is_refused(crew: Crew) -> None:
    kept = await crew.shell("exec <&-; echo closed; sleep 1000", stdin_open=True)
    await kept.says(b"closed")

    async def refused() -> bool:
        try:
            await client.send(kept.socket, 1, b"hello")
        except ConflictError:
            return True
        return False

    async with asyncio.timeout(20):
        while not await refused():
            await asyncio.sleep(0.01)


async def test_interrupt_reaches_the_agent(crew: Crew) -> None:
    kept = await crew.python(
        "signal.signal(signal.SIGINT, lambda *_: (os.write(1, b'interrupted\\n'), sys.exit(3)))\nsay('ready')\ntime.sleep(1000)"
    )
    await kept.says(b"ready")
    await client.interrupt(kept.socket)
    ending = await kept.end()
    assert (ending.reason, ending.exit_code, kept.out()) == ("exited", 3, b"ready\ninterrupted\n")


async def test_status_tells_how_the_run_is(crew: Crew) -> None:
    kept = await crew.shell("echo hello; echo oh >&2; sleep 1000")
    await kept.says(b"hello")
    await until(kept.err)
    status = await client.status(kept.socket)
    assert status["state"] == "running"
    assert status["pid"] == kept.agent()
    assert (status["out_bytes"], status["err_bytes"], status["last_seq"]) == (6, 3, 0)
    assert status["paused"] is False
    assert status["memory_bytes"] > 100_000
    assert status["uptime_seconds"] > 0


async def test_the_socket_is_for_its_owner_and_goes_with_the_run(crew: Crew) -> None:
    kept = await crew.shell("read x", stdin_open=True)
    assert stat.S_IMODE(kept.socket.stat().st_mode) == 0o600
    await client.close_stdin(kept.socket)
    await kept.end()
    await until(lambda: not kept.socket.exists())
    with pytest.raises(UnavailableError, match="does not answer"):
        await client.status(kept.socket)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00\xff\xfe",
        b"null",
        b"[]",
        b'{"do": ["status"]}',
        b'{"do": "nothing"}',
        b'{"do": "__init__"}',
        b'{"do": "input"}',
        b'{"do": "input", "seq": true, "data": ""}',
        b'{"do": "input", "seq": 1e3, "data": ""}',
        b'{"do": "input", "seq": -1, "data": ""}',
        b'{"do": "input", "seq": 1' + b"0" * 5000 + b', "data": ""}',
        b'{"do": "input", "seq": 1, "data": "no base64!"}',
        b'{"do": "input", "seq": 1, "data": "\\ud800"}',
        b'{"do": "stop", "grace": 3}',
        b'{"do": "stop", "grace": {"interrupt_seconds": NaN}}',
        b'{"do": "stop", "grace": {"terminate_seconds": -1}}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
    ],
    ids=range(19),
)
async def test_a_malformed_request_is_refused_in_a_sentence(crew: Crew, line: bytes) -> None:
    kept = await crew.shell("sleep 1000", stdin_open=True)
    reader, writer = await asyncio.open_unix_connection(kept.socket)
    writer.write(line + b'\n{"do": "status"}\n')
    await writer.drain()
    if line:
        refusal = json.loads(await reader.readline())
        assert refusal["ok"] is False
        assert refusal["error"]
    status = json.loads(await reader.readline())
    assert status["ok"] is True
    assert (status["state"], status["last_seq"]) == ("running", 0)
    writer.close()
    await writer.wait_closed()


async def test_a_request_that_never_ends_is_cut_off(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    reader, writer = await asyncio.open_unix_connection(kept.socket)

    async def babble() -> None:
        for _ in range(2 * LINE_LIMIT // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()

    with pytest.raises(OSError):  # broken pipe or reset, whichever is noticed first
        await babble()
    writer.close()
    assert reader is not None
    assert (await client.status(kept.socket))["ok"]


async def test_a_client_that_never_reads_is_dropped(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    reader, writer = await asyncio.open_unix_connection(kept.socket, limit=1)

    async def flood() -> None:
        while True:
            writer.write(b'{"do": "nothing at all"}\n' * 2000)
            await writer.drain()

    async with asyncio.timeout(30):
        with pytest.raises(OSError):
            await flood()
    writer.close()
    assert reader is not None
    assert (await client.status(kept.socket))["ok"]


async def test_a_crowd_of_silent_clients_locks_nobody_out(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    crowd = [await asyncio.open_unix_connection(kept.socket) for _ in range(CLIENT_LIMIT * 3)]
    assert (await client.status(kept.socket))["ok"]
    for _, writer in crowd:
        writer.close()


async def test_one_client_can_hold_a_conversation_in_small_pieces(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    reader, writer = await asyncio.open_unix_connection(kept.socket)
    for byte in b'{"do": "status"}\n':
        writer.write(bytes([byte]))
        await writer.drain()
    assert json.loads(await reader.readline())["ok"]
    writer.write(b'{"do": "status"}\n{"do": "status"}\n')
    assert json.loads(await reader.readline())["ok"]
    assert json.loads(await reader.readline())["ok"]
    writer.close()


async def test_a_socket_without_a_keeper_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        await client.request(tmp_path / "none", {"do": "status"})


async def test_a_keeper_that_hangs_is_unavailable_after_the_timeout(crew: Crew) -> None:
    kept: Kept = await crew.shell("sleep 1000")
    os.kill(kept.keeper, 19)
    try:
        with pytest.raises(UnavailableError):
            await client.request(kept.socket, {"do": "status"}, timeout=0.2)
    finally:
        os.kill(kept.keeper, 18)
    assert (await client.status(kept.socket))["ok"]


async def test_a_connection_that_is_lost_is_tried_again(crew: Crew) -> None:
    losses = 3

    async def unreliable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal losses
        losses -= 1
        if losses < 0:
            writer.write((await reader.readline()).replace(b"do", b"ok"))
        elif losses:
            writer.transport.abort()
        else:
            await reader.readline()
        writer.close()

    path = crew.root / "unreliable"
    async with await asyncio.start_unix_server(unreliable, path):
        assert await client.request(path, {"do": True}, timeout=30) == {"ok": True}


@pytest.mark.parametrize("answer", [b"[]\n", b"hello\n", b"x" * (2 << 20)], ids=["list", "text", "endless"])
async def test_what_answers_but_is_no_keeper_is_unavailable(crew: Crew, answer: bytes) -> None:
    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    path = crew.root / "impostor"
    async with await asyncio.start_unix_server(impostor, path):
        with pytest.raises(UnavailableError):
            await client.status(path)
