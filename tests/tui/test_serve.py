"""The screen in a browser, by a real client against a real `qd serve`: who is let in, and what one sees there."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import pyte
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSMsgType, WSServerHandshakeError

from tests.tui.terminal import ROOT


@dataclass
class Served:
    """A `qd serve`."""

    process: asyncio.subprocess.Process
    link: str

    @property
    def base(self) -> str:
        """The address without the token."""
        return self.link.partition("/?")[0]

    def screens(self) -> list[psutil.Process]:
        """The processes of its sessions."""
        return psutil.Process(self.process.pid).children()


@pytest.fixture
async def served(seen_day: str, world_environ: dict[str, str]) -> AsyncIterator[Served]:
    environ = world_environ | {"TMUX": "x,1,0", "NO_COLOR": ""}
    words = [sys.executable, "-P", "-m", "core.faces.start", "serve", "--port", "0", "--readonly", "--json"]
    words += ["--database-url", seen_day]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield Served(process, json.loads(line)["url"])
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def _sees(socket: ClientWebSocketResponse, words: str, size: tuple[int, int] = (120, 40)) -> str:
    """Wait for a text on the terminal of the page."""
    screen = pyte.Screen(*size)
    stream = pyte.ByteStream(screen)
    async with asyncio.timeout(60):
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*[a-zA-Z$]+", b"", message.data))
            if words in "\n".join(screen.display):
                return "\n".join(screen.display)
    raise AssertionError(f"never: {words}\n" + "\n".join(screen.display))


async def test_the_screen_is_seen_and_driven_in_a_browser(served: Served, browser: ClientSession) -> None:
    async with browser.get(served.link) as page:
        text = await page.text()
        assert page.status == 200
        assert str(page.url) == f"{served.base}/", "the token stays in no history"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["Referrer-Policy"] == "no-referrer"
    for address in re.findall(r'(?:href|src)="([^"]+)"', text):
        assert address.startswith(f"{served.base}/"), "nothing comes from elsewhere"
        async with browser.get(address) as part:
            assert part.status == 200
    [address] = re.findall(r'data-session-websocket-url="([^"]+)"', text)
    async with browser.ws_connect(f"{address}?width=120&height=40", origin=served.base) as socket:
        await _sees(socket, "need you")
        await socket.send_str("no json")
        await socket.send_json(["resize", {"width": 10**12, "height": -4}])
        await socket.send_json(["resize", {"width": 120, "height": 40}])
        await socket.send_json(["ping", "7"])
        await socket.send_json(["stdin", "?"])
        await _sees(socket, "keys here")
        [screen] = served.screens()
        assert "QD_DATABASE_URL" not in " ".join(screen.cmdline())
        assert "TMUX" not in screen.environ()
        assert screen.environ()["QD_NO_ENGINE"] == "1", "an engine elsewhere is looked at"
    async with asyncio.timeout(15):
        while served.screens():
            await asyncio.sleep(0.05)


async def test_the_screen_ends_when_the_server_does(served: Served, browser: ClientSession) -> None:
    await browser.get(served.link)
    async with browser.ws_connect(f"{served.base.replace('http', 'ws')}/ws", origin=served.base) as socket:
        await _sees(socket, "need you", (80, 24))
        [screen] = served.screens()
        served.process.send_signal(signal.SIGINT)
        await served.process.wait()
        await asyncio.to_thread(screen.wait, 15)
        assert not psutil.pid_exists(screen.pid)


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/page.css", "/static/js/textual.js", "/ws", "/else"]
)
async def test_without_the_token_nothing_is_there(served: Served, browser: ClientSession, path: str) -> None:
    async with browser.get(served.base + path) as answer:
        assert answer.status == 401
        assert "Content-Security-Policy" in answer.headers
    for headers in ({"Authorization": "Bearer wrong"}, {"Cookie": f"qd_{urlsplit(served.base).port}=wrong"}):
        async with browser.get(served.base + path, headers=headers) as answer:
            assert answer.status == 401
    with pytest.raises(WSServerHandshakeError) as refused:
        await browser.ws_connect(served.base.replace("http", "ws") + "/ws", origin=served.base)
    assert refused.value.status == 401
    assert not served.screens()


async def test_no_page_of_anybody_else_reaches_it_even_with_the_cookie(served: Served, browser: ClientSession) -> None:
    await browser.get(served.link)
    port = urlsplit(served.base).port
    socket = served.base.replace("http", "ws") + "/ws"
    for origin in (
        "http://evil.example",
        "null",
        f"http://localhost:{port}",
        f"https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await browser.ws_connect(socket, origin=origin)
        assert refused.value.status == 403, origin
    for host in (f"evil.example:{port}", f"localhost:{port}", "127.0.0.1", ""):
        async with browser.get(served.link, headers={"Host": host}, allow_redirects=False) as answer:
            assert answer.status in (400, 403), host
        with pytest.raises(WSServerHandshakeError) as refused:
            await browser.ws_connect(socket, headers={"Host": host})
        assert refused.value.status in (400, 403), host
    assert not served.screens()


async def test_it_listens_on_loopback_alone_and_a_port_that_is_taken_is_said(
    served: Served, world_environ: dict[str, str]
) -> None:
    server = psutil.Process(served.process.pid)
    assert {where.laddr.ip for where in server.net_connections() if where.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    port = str(urlsplit(served.base).port)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "core.faces.start", "serve", "--port", port, cwd=ROOT, env=world_environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await other.communicate()
    assert other.returncode == 6
    assert f"port {port} cannot be had" in err.decode()
