"""What the agent says reaches the spool, byte for byte, up to the limit and never silently less."""

import hashlib
import os
import resource
import signal
from pathlib import Path

from core.keeper import client
from core.keeper.client import Limits
from tests.keeper.conftest import Crew, lives, until


async def test_any_bytes_are_spooled_as_they_came(crew: Crew) -> None:
    code = """
for n in range(256):
    os.write(1, bytes([n]) * n)
    os.write(2, bytes([255 - n]) * 3)
os.write(1, b"\\r\\x1b[2J\\xff\\xfe half a line")
"""
    kept = await crew.python(code)
    ending = await kept.end()
    assert kept.out() == b"".join(bytes([n]) * n for n in range(256)) + b"\r\x1b[2J\xff\xfe half a line"
    assert kept.err() == b"".join(bytes([255 - n]) * 3 for n in range(256))
    assert (ending.out_bytes, ending.err_bytes) == (len(kept.out()), len(kept.err()))


async def test_fifty_megabytes_without_a_newline_are_spooled(crew: Crew) -> None:
    kept = await crew.python("block = bytes(range(11, 251)) * 4369\nfor _ in range(50): sys.stdout.buffer.write(block)")
    ending = await kept.end()
    expected = bytes(range(11, 251)) * 4369 * 50
    assert ending.reason == "exited"
    assert ending.out_bytes == len(expected) > 50_000_000
    assert hashlib.sha256(kept.out()).digest() == hashlib.sha256(expected).digest()


async def test_half_a_line_is_in_the_spool_before_the_line_ends(crew: Crew) -> None:
    kept = await crew.python("sys.stdout.write('thinking'); sys.stdout.flush(); sys.stdin.read()", stdin_open=True)
    await kept.says(b"thinking")
    await client.close_stdin(kept.socket)
    assert (await kept.end()).exit_code == 0


async def test_what_a_grandchild_says_after_the_agent_has_ended_is_spooled(crew: Crew) -> None:
    kept = await crew.shell(
        "exec 3<&0; (read x <&3; echo late; echo sorry >&2) & echo early", stdin_open=True, grace=client.Grace(5, 5, 20)
    )
    await kept.says(b"early")
    await client.close_stdin(kept.socket)
    ending = await kept.end()
    assert (kept.out(), kept.err(), ending.leftovers_killed) == (b"early\nlate\n", b"sorry\n", 0)


async def test_exactly_the_limit_of_output_is_kept(crew: Crew) -> None:
    endless = "while True: os.write(1, b'o' * 7001); os.write(2, b'e' * 13)"
    kept = await crew.python(endless, limits=Limits(output_bytes=1_000_003))
    ending = await kept.end()
    assert ending.reason == "output_limit"
    assert len(kept.out()) + len(kept.err()) == ending.out_bytes + ending.err_bytes == 1_000_003


async def test_output_as_large_as_the_limit_breaks_nothing(crew: Crew) -> None:
    kept = await crew.python("os.write(1, b'x' * 1000)", limits=Limits(output_bytes=1000))
    assert (await kept.end()).reason == "exited"
    assert kept.out() == b"x" * 1000


async def test_a_disk_that_takes_no_more_ends_the_run_and_is_told(crew: Crew) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))  # the keeper inherits it
    try:
        kept = await crew.python("while True: os.write(1, b'x' * 5000)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ending = await kept.end()
    assert ending.reason == "spool_failed"
    assert os.strerror(27) in ending.detail
    assert ending.out_bytes == len(kept.out()) == 300_000


async def test_more_output_than_the_limit_from_what_was_left_behind_is_told_too(crew: Crew) -> None:
    flood = "(while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done) & exit 0"
    kept = await crew.shell(flood, limits=Limits(output_bytes=200_000), grace=client.Grace(30, 1, 30))
    ending = await kept.end()
    assert (ending.reason, ending.exit_code, ending.out_bytes) == ("output_limit", 0, 200_000)


async def test_the_last_words_of_an_agent_are_spooled_however_many_are_in_the_pipe(crew: Crew) -> None:
    code = """
import fcntl
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
say('ready'); sys.stdin.readline()
os.write(1, b'x' * 1_000_000)
"""
    kept = await crew.python(code, stdin_open=True)
    await kept.says(b"ready")
    os.kill(kept.keeper, signal.SIGSTOP)
    try:
        # The keeper's own end of the pipe, so that the agent has ended before the keeper sees any of it.
        stdin = next(
            path
            for path in Path(f"/proc/{kept.keeper}/fd").iterdir()
            if path.readlink() == Path(f"/proc/{kept.agent()}/fd/0").readlink()
        )
        stdin.write_bytes(b"\n")
        await until(lambda: not lives(kept.agent()))
    finally:
        os.kill(kept.keeper, signal.SIGCONT)
    ending = await kept.end()
    assert ending.out_bytes == len(kept.out()) == 1_000_006
