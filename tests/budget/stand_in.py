"""A stand-in for the providers, on loopback: every protocol, streaming and not, with faults, and with books of its own.

What it does is asked for in the request: the last text of the conversation may be a JSON object with ``in`` and ``out`` (tokens that it
counts), ``read``, ``write_5m``, ``write_1h``, ``think`` (of these), ``pause`` (seconds between two parts), ``status`` (an error instead),
``headers`` (of the error), ``code`` (its structured kind), ``break`` (part after which the connection breaks).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from tests.budget import refusals

WORD = "lorem "


@dataclass
class Bill:
    """What the provider would bill for one call."""

    model: str
    input: int
    output: int = 0
    whole: bool = False


@dataclass
class StandIn:
    """The provider's side of the story."""

    url: str = ""
    bills: list[Bill] = field(default_factory=list)
    calls: int = 0
    keys: set[str] = field(default_factory=set)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why requests were none, for the provider that this one stands for."""
    status: int = 0
    """An error that every call gets, while set."""
    strange: list[str] = field(default_factory=list)
    """Paths that were asked for and are none of these, as they came."""
    sent: list[bytes] = field(default_factory=list)
    """The answers, byte for byte."""


@asynccontextmanager
async def stand_in(port: int = 0) -> AsyncIterator[StandIn]:
    """Serve a provider."""
    books = StandIn()
    app = web.Application(client_max_size=100_000_000)
    app.router.add_post("/v1/messages", _handler(books, _Anthropic()))
    app.router.add_post("/v1/messages/count_tokens", partial(_count, books=books))
    app.router.add_post("/chat/completions", _handler(books, _Chat()))
    app.router.add_post("/other/chat/completions", _handler(books, _OtherChat()))
    app.router.add_post("/responses", _handler(books, _Responses()))
    app.router.add_get("/models", partial(_models, books=books))
    app.router.add_post("/v1beta/models/{model}:{verb}", _handler(books, _Gemini()))
    app.router.add_route("*", "/{path:.*}", partial(_strange, books=books))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    books.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield books
    finally:
        await runner.cleanup()


def _handler(books: StandIn, wire: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await _answer(request, books, wire)

    return handle


async def _count(request: web.Request, books: StandIn) -> web.Response:
    books.keys.add(_key(request))
    return web.json_response({"input_tokens": 42})


async def _models(request: web.Request, books: StandIn) -> web.Response:
    books.keys.add(_key(request))
    return web.json_response({"object": "list", "data": [{"id": "gpt-5.2", "object": "model"}]})


async def _strange(request: web.Request, books: StandIn) -> web.Response:
    books.keys.add(_key(request))
    books.strange.append(request.rel_url.raw_path)
    return web.json_response({"error": {"message": "there is nothing"}}, status=404)


def _key(request: web.Request) -> str:
    return (
        request.headers.get("x-api-key")
        or request.headers.get("x-goog-api-key")
        or request.headers.get("authorization", "").removeprefix("Bearer ")
    )


async def _answer(request: web.Request, books: StandIn, wire: Any) -> web.StreamResponse:
    body = json.loads(await request.read())
    books.calls += 1
    books.keys.add(_key(request))
    books.bodies.append(body)
    books.headers.append(dict(request.headers))
    wish = wire.wish(body)
    model = str(body.get("model") or request.match_info.get("model"))
    if refusal := wire.refusal(body, model):
        books.refused.append(refusal)
        return web.json_response(wire.error(400, "invalid_request_error", refusal), status=400)
    if status := books.status or wish.get("status", 0):
        error = wire.error(status, wish.get("code"))
        return web.json_response(error, status=status, headers=wish.get("headers", {}))
    stream = wire.streams(request, body)
    if "first" in wish:
        await asyncio.sleep(wish["first"])
    prompt = wish.get("in", max(len(json.dumps(body)) // 4, 1))
    prompt += sum(wish.get(name, 0) for name in ("read", "write_5m", "write_1h"))
    words = min(wish.get("out", 10), wire.limit(body) or 10**9)
    bill = Bill(model, prompt)
    books.bills.append(bill)
    if not stream:
        bill.output, bill.whole = words, True
        if "break" in wish:
            request.transport.close()
        payload = json.dumps(wire.whole(bill.model, wish, words)).encode()
        books.sent.append(payload)
        return web.Response(body=payload, content_type="application/json", headers={"request-id": "req_1"})
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"})
    await response.prepare(request)
    everything = b""
    for position, (tokens, part) in enumerate(wire.parts(request, body, bill.model, wish, words)):
        if wish.get("break") == position:
            request.transport.close()
            return response
        if wish.get("pause"):
            await asyncio.sleep(wish["pause"])
        bill.output += tokens
        everything += part
        await response.write(part)
    bill.whole = True
    books.sent.append(everything)
    await response.write_eof()
    return response


def _wish(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _event(value: Mapping[str, Any], name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


class _Anthropic:
    refusal = staticmethod(refusals.anthropic)

    def wish(self, body: dict[str, Any]) -> dict[str, Any]:
        content = body["messages"][-1]["content"]
        return _wish(content if isinstance(content, str) else content[-1].get("text"))

    def streams(self, _request: web.Request, body: dict[str, Any]) -> bool:
        return body.get("stream") is True

    def limit(self, body: dict[str, Any]) -> int | None:
        return body.get("max_tokens")

    def error(self, status: int, code: str | None, message: str | None = None) -> dict[str, Any]:
        return {"type": "error", "error": {"type": code or "api_error", "message": message or f"it is {status}"}}

    def usage(self, wish: Mapping[str, Any], output: int) -> dict[str, Any]:
        return {
            "input_tokens": wish.get("in", 10),
            "cache_read_input_tokens": wish.get("read", 0),
            "cache_creation_input_tokens": wish.get("write_5m", 0) + wish.get("write_1h", 0),
            "cache_creation": {
                "ephemeral_5m_input_tokens": wish.get("write_5m", 0),
                "ephemeral_1h_input_tokens": wish.get("write_1h", 0),
            },
            "output_tokens": output,
            "output_tokens_details": {"thinking_tokens": wish.get("think", 0)},
            "service_tier": "standard",
        }

    def whole(self, model: str, wish: Mapping[str, Any], words: int) -> dict[str, Any]:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": WORD * words}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": self.usage(wish, words),
        }

    def parts(self, _request: Any, _body: Any, model: str, wish: Mapping[str, Any], words: int) -> Any:
        opening = {
            **self.whole(model, wish, 0),
            "content": [],
            "stop_reason": None,
            "usage": self.usage({**wish, "think": 0}, 1),
        }
        yield 0, _event({"type": "message_start", "message": opening}, "message_start")
        yield (
            0,
            _event(
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                "content_block_start",
            ),
        )
        for _ in range(words):
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
            yield 1, _event(delta, "content_block_delta")
        if wish.get("mid_error"):
            yield 0, _event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error")
            return
        yield 0, _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
        yield 0, _event({**end, "usage": self.usage(wish, words)}, "message_delta")
        yield 0, _event({"type": "message_stop"}, "message_stop")


class _OpenAI:
    def error(self, status: int, code: str | None, message: str | None = None) -> dict[str, Any]:
        told = message or f"it is {status}"
        return {"error": {"message": told, "type": code or "server_error", "param": None, "code": code}}

    def streams(self, _request: web.Request, body: dict[str, Any]) -> bool:
        return body.get("stream") is True


class _Chat(_OpenAI):
    refusal = staticmethod(refusals.chat)

    def wish(self, body: dict[str, Any]) -> dict[str, Any]:
        return _wish(body["messages"][-1]["content"])

    def limit(self, body: dict[str, Any]) -> int | None:
        return body.get("max_completion_tokens") or body.get("max_tokens")

    def usage(self, wish: Mapping[str, Any], output: int) -> dict[str, Any]:
        prompt = wish.get("in", 10) + wish.get("read", 0)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": wish.get("read", 0), "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": wish.get("think", 0)},
        }

    def whole(self, model: str, wish: Mapping[str, Any], words: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": WORD * words, "refusal": None}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": self.usage(wish, words),
        }

    def parts(self, _request: Any, body: Any, model: str, wish: Mapping[str, Any], words: int) -> Any:
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        asked = (body.get("stream_options") or {}).get("include_usage")
        extra = {"usage": None} if asked else {}
        for _ in range(words):
            yield (
                1,
                _event({**base, "choices": [{"index": 0, "delta": {"content": WORD}, "finish_reason": None}], **extra}),
            )
        yield 0, _event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **extra})
        if asked:
            yield 0, _event({**base, "choices": [], "usage": self.usage(wish, words)})
        yield 0, b"data: [DONE]\n\n"


class _OtherChat(_Chat):
    refusal = staticmethod(refusals.other_chat)


class _Responses(_OpenAI):
    refusal = staticmethod(refusals.responses)

    def wish(self, body: dict[str, Any]) -> dict[str, Any]:
        content = body["input"]
        return _wish(content if isinstance(content, str) else content[-1]["content"])

    def limit(self, body: dict[str, Any]) -> int | None:
        return body.get("max_output_tokens")

    def whole(self, model: str, wish: Mapping[str, Any], words: int) -> dict[str, Any]:
        prompt = wish.get("in", 10) + wish.get("read", 0)
        text = {"type": "output_text", "text": WORD * words, "annotations": []}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": model,
            "output": [{"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [text]}],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": wish.get("read", 0)},
                "output_tokens": words,
                "output_tokens_details": {"reasoning_tokens": wish.get("think", 0)},
                "total_tokens": prompt + words,
            },
        }

    def parts(self, _request: Any, _body: Any, model: str, wish: Mapping[str, Any], words: int) -> Any:
        whole = self.whole(model, wish, words)
        opening = {**whole, "status": "in_progress", "output": [], "usage": None}
        yield 0, _event({"type": "response.created", "sequence_number": 0, "response": opening}, "response.created")
        item = {**whole["output"][0], "status": "in_progress", "content": []}
        added = {"type": "response.output_item.added", "sequence_number": 0, "output_index": 0, "item": item}
        yield 0, _event(added, added["type"])
        part = {"type": "response.content_part.added", "sequence_number": 0, "item_id": "m", "output_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield 0, _event({**part, "content_index": 0, "part": empty}, part["type"])
        place = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
        for n in range(words):
            event = {"type": "response.output_text.delta", "sequence_number": n + 1, **place, "delta": WORD}
            yield 1, _event(event, "response.output_text.delta")
        yield (
            0,
            _event(
                {"type": "response.completed", "sequence_number": words + 1, "response": whole}, "response.completed"
            ),
        )


class _Gemini:
    refusal = staticmethod(refusals.gemini)

    def wish(self, body: dict[str, Any]) -> dict[str, Any]:
        return _wish(body["contents"][-1]["parts"][-1]["text"])

    def streams(self, request: web.Request, _body: dict[str, Any]) -> bool:
        return request.match_info["verb"] == "streamGenerateContent"

    def limit(self, body: dict[str, Any]) -> int | None:
        return (body.get("generationConfig") or {}).get("maxOutputTokens")

    def error(self, status: int, code: str | None, message: str | None = None) -> dict[str, Any]:
        return {"error": {"code": status, "message": message or f"it is {status}", "status": code or "INTERNAL"}}

    def whole(self, model: str, wish: Mapping[str, Any], words: int) -> dict[str, Any]:
        prompt = wish.get("in", 10) + wish.get("read", 0)
        thinking = wish.get("think", 0)
        return {
            "candidates": [
                {"index": 0, "content": {"role": "model", "parts": [{"text": WORD * words}]}, "finishReason": "STOP"}
            ],
            "usageMetadata": {
                "promptTokenCount": prompt,
                "cachedContentTokenCount": wish.get("read", 0),
                "candidatesTokenCount": words - thinking,
                "thoughtsTokenCount": thinking,
                "totalTokenCount": prompt + words,
            },
            "modelVersion": model,
        }

    def parts(self, request: web.Request, _body: Any, model: str, wish: Mapping[str, Any], words: int) -> Any:
        sse = request.query.get("alt") == "sse"
        for n in range(1, words + 1):
            value = self.whole(model, wish, n)
            value["candidates"][0]["content"]["parts"] = [{"text": WORD}]
            if n < words:
                del value["candidates"][0]["finishReason"]
            if sse:
                yield 1, b"data: " + json.dumps(value).encode() + b"\r\n\r\n"
            else:
                yield 1, (b"[" if n == 1 else b",\r\n") + json.dumps(value).encode()
        if not sse:
            yield 0, b"]"
