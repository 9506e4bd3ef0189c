"""A scripted stand-in for a model provider, so that the whole job runs with no key and no network.

It speaks the Anthropic Messages API (https://docs.anthropic.com/en/api/messages and /messages-streaming):
``POST /v1/messages`` with and without streaming, ``POST /v1/messages/count_tokens``, and the provider's
error format. What it answers is decided by a :data:`Brain`, a pure function of the request, so the same
conversation always gets the same reply, whichever process asks and however often. It listens on loopback
only. The prices of a reply are made of its length: figures for demonstration, not a tokenizer's.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

BODY_LIMIT = 32_000_000
"""Bytes of a request's body, as at the provider."""

HEAD_LIMIT = 64_000
"""Bytes of a request's head."""

IDLE_SECONDS = 120.0
"""How long a connection may wait for its next request."""

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Say:
    """A text block of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """A thinking block of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool_use block of the reply: ``name`` is a tool that the request offers."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)


Block = Say | Think | Call


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error of the provider in place of a reply, such as ``Refuse(402, "billing_error", "…")``."""

    status: int
    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a brain may look at: the body of the request, as the API defines it."""

    body: Mapping[str, Any]

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The conversation so far."""
        return list(self.body.get("messages") or [])

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools that the client offers."""
        return frozenset(str(tool.get("name")) for tool in self.body.get("tools") or [])

    @property
    def system(self) -> str:
        """The system prompt as one text."""
        return texts_of(self.body.get("system"))


Brain = Callable[[Request], Sequence[Block] | Refuse]
"""Decides the next reply from the request alone; no blocks end the turn with no text."""

KeyCheck = Callable[[str], bool]
"""Whether an API key is good."""


def texts_of(content: Any) -> str:
    """The text blocks of a message's content (a string or a list of blocks), joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(block.get("text", "")) for block in content if block.get("type") == "text")


def results_of(content: Any) -> list[str]:
    """The texts of the tool_result blocks of a message's content."""
    if not isinstance(content, list):
        return []
    return [texts_of(block.get("content")) for block in content if block.get("type") == "tool_result"]


@asynccontextmanager
async def model_server(script: Brain, key_check: KeyCheck = bool) -> AsyncIterator[str]:
    """Serve ``script`` on a free loopback port; yields the base URL that clients are given.

    Args:
        script: decides each reply.
        key_check: says whether a key is good; as it stands any key but the empty one.
    """
    talks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await _converse(reader, writer, script, key_check)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client went away or talks no HTTP: nothing is owed to it
        except asyncio.CancelledError:
            pass  # the server closes; asyncio's own callback would report this as an error
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=HEAD_LIMIT)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for talk in list(talks):
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, brain: Brain, good: KeyCheck) -> None:
    """Answer the requests of one connection until the client closes it."""
    while True:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
        except asyncio.IncompleteReadError:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.split(" ", 1)[0].split("?", 1)[0]
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length") or 0) if (headers.get("content-length") or "0").isdigit() else -1
        if not 0 <= length <= BODY_LIMIT:
            await _send_json(writer, 413, _error_body("request_too_large", "Request exceeds the maximum size"))
            return
        raw = await asyncio.wait_for(reader.readexactly(length), IDLE_SECONDS)
        await _answer(writer, method, path, headers, raw, brain, good)


async def _answer(
    writer: asyncio.StreamWriter,
    method: str,
    path: str,
    headers: Mapping[str, str],
    raw: bytes,
    brain: Brain,
    good: KeyCheck,
) -> None:
    if method == "HEAD":  # a client that looks whether anybody is there
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        return
    if method != "POST" or path not in ("/v1/messages", "/v1/messages/count_tokens"):
        await _send_json(writer, 404, _error_body("not_found_error", f"Not found: {path}"))
        return
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key or not good(key):
        await _send_json(writer, 401, _error_body("authentication_error", "invalid x-api-key"))
        return
    try:
        body = json.loads(raw)
        request = Request(body)
        if not request.messages or not isinstance(body.get("model"), str):
            raise ValueError("messages and model are required")
        if not all(isinstance(item, dict) for item in [*request.messages, *(body.get("tools") or [])]):
            raise ValueError("messages and tools are objects")
    except (ValueError, AttributeError, TypeError) as error:
        await _send_json(writer, 400, _error_body("invalid_request_error", f"not a Messages request: {error}"))
        return
    if path.endswith("count_tokens"):
        await _send_json(writer, 200, {"input_tokens": _tokens(body)})
        return
    decided = brain(request)
    if isinstance(decided, Refuse):
        await _send_json(writer, decided.status, _error_body(decided.type, decided.message))
        return
    message = _message(request, decided)
    if body.get("stream"):
        await _send_stream(writer, message)
    else:
        await _send_json(writer, 200, message)


def _message(request: Request, blocks: Sequence[Block]) -> dict[str, Any]:
    """The reply as the API's Message object, with ids that follow from the conversation."""
    digest = hashlib.sha256(json.dumps(request.body.get("messages"), sort_keys=True).encode()).hexdigest()
    content: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        match block:
            case Say(text):
                content.append({"type": "text", "text": text})
            case Think(text):
                content.append({"type": "thinking", "thinking": text, "signature": digest[:32]})
            case Call(name, given):
                content.append(
                    {"type": "tool_use", "id": f"toolu_01{digest[:20]}{place:02d}", "name": name, "input": dict(given)}
                )
    calls = any(isinstance(block, Call) for block in blocks)
    return {
        "id": f"msg_01{digest[:22]}",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": content,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": _usage(request, content),
    }


def _usage(request: Request, content: list[dict[str, Any]]) -> dict[str, int]:
    """Disjoint classes: the newest message is input, what came before it is read from the cache or written
    to it.
    """
    messages = request.messages
    whole, last = _tokens(request.body), _tokens(messages[-1])
    before = max(whole - last, 0)
    seen = any(message.get("role") == "assistant" for message in messages)
    return {
        "input_tokens": last,
        "cache_creation_input_tokens": 0 if seen else before,
        "cache_read_input_tokens": before if seen else 0,
        "output_tokens": _tokens(content),
    }


def _tokens(value: Any) -> int:
    return max(1, len(json.dumps(value)) // CHARACTERS_PER_TOKEN)


def _events(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The message as the API streams it: start, blocks in deltas, the final usage, stop."""
    usage = message["usage"]
    opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opening}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        match block["type"]:
            case "text":
                empty: dict[str, Any] = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": part} for part in _pieces(block["text"])]
            case "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": part} for part in _pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case _:
                empty = {**block, "input": {}}
                deltas = [
                    {"type": "input_json_delta", "partial_json": part} for part in _pieces(json.dumps(block["input"]))
                ]
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]


def _pieces(text: str, size: int = 40) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


def _error_body(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"}


async def _send_json(writer: asyncio.StreamWriter, status: int, body: Mapping[str, Any]) -> None:
    payload = json.dumps(body).encode()
    writer.write(
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\ncontent-type: application/json\r\n"
        f"request-id: req_scripted\r\ncontent-length: {len(payload)}\r\n\r\n".encode()
        + payload
    )
    await writer.drain()


async def _send_stream(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
        b"request-id: req_scripted\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for event in _events(message):
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
