"""The scripted model server speaks like the provider, as far as a client can tell."""

import asyncio
import json

import httpx
import pytest
from anthropic import AsyncAnthropic

from core.demo.hands import Ask, Fork, Look, Put, Scene, Shell, play
from core.demo.model_server import Block, Call, Refuse, Request, Say, Think, model_server

HELLO = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": {}}} for name in ("read", "write", "run", "ask")
]


def calling(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=headers)


def only_good(key: str) -> bool:
    return key == "good"


def everything(request: Request) -> list[Block]:
    return [Think("Well."), Say("I look at it. " * 10), Call("read", {"path": 'a"b ä.py'})]


async def test_the_sdk_reads_a_streamed_reply_like_a_plain_one() -> None:
    async with (
        model_server(everything, only_good) as url,
        AsyncAnthropic(api_key="good", base_url=url) as client,
    ):
        plain = await client.messages.create(**HELLO)  # type: ignore[call-overload]
        async with client.messages.stream(**HELLO) as stream:  # type: ignore[arg-type]
            kinds = {event.type async for event in stream}
            streamed = await stream.get_final_message()
    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use"]
    assert streamed.content[2].input == {"path": 'a"b ä.py'}  # type: ignore[union-attr]
    assert streamed.stop_reason == plain.stop_reason == "tool_use"
    assert streamed.id == plain.id, "the same conversation gets the same reply"
    assert streamed.usage.output_tokens == plain.usage.output_tokens > 1
    assert {"message_start", "content_block_delta", "message_delta", "message_stop"} <= kinds


async def test_usage_falls_into_disjoint_classes() -> None:
    more = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "?"},
    ]
    longer = {**HELLO, "messages": more}
    async with model_server(everything) as url, calling(url, {"x-api-key": "k"}) as client:
        first = (await client.post("/v1/messages", json=HELLO)).json()["usage"]
        second = (await client.post("/v1/messages", json=longer)).json()["usage"]
        counted = (await client.post("/v1/messages/count_tokens", json=longer)).json()
    assert first["cache_creation_input_tokens"] > 0
    assert first["cache_read_input_tokens"] == 0
    assert second["cache_creation_input_tokens"] == 0
    assert second["cache_read_input_tokens"] > 0
    assert counted["input_tokens"] == second["input_tokens"] + second["cache_read_input_tokens"]


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "bad"}, {"authorization": "Bearer bad"}])
async def test_a_wrong_or_absent_key_is_refused_as_the_provider_does(headers: dict[str, str]) -> None:
    async with (
        model_server(everything, only_good) as url,
        calling(url, headers) as client,
    ):
        answer = await client.post("/v1/messages", json=HELLO)
    assert answer.status_code == 401
    assert answer.json()["type"] == "error"
    assert answer.json()["error"] == {"type": "authentication_error", "message": "invalid x-api-key"}


async def test_a_bearer_token_is_a_key_too() -> None:
    async with (
        model_server(everything, only_good) as url,
        calling(url, {"authorization": "Bearer good"}) as client,
    ):
        assert (await client.post("/v1/messages?beta=true", json=HELLO)).status_code == 200


async def test_what_is_no_request_gets_an_error_and_the_server_lives_on() -> None:
    async with model_server(everything) as url, calling(url, {"x-api-key": "k"}) as client:
        for content in (b"", b"{", b"[]", b"{}", b'{"messages": [1], "model": "m"}', b'{"messages": 7, "model": "m"}'):
            answer = await client.post("/v1/messages", content=content)
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), content
        assert (await client.get("/v1/messages")).status_code == 404
        assert (await client.post("/v1/other", json=HELLO)).status_code == 404
        assert (await client.head("/")).status_code == 200
        host, port = url.removeprefix("http://").split(":")
        for junk in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"x" * 100_000):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(junk)
            writer.write_eof()
            async with asyncio.timeout(10):
                await reader.read()
            writer.close()
        assert (await client.post("/v1/messages", json=HELLO)).status_code == 200


async def test_a_refusal_comes_in_the_provider_s_error_format() -> None:
    async with (
        model_server(lambda _: Refuse(402, "billing_error", "used up")) as url,
        calling(url, {"x-api-key": "k"}) as client,
    ):
        answer = await client.post("/v1/messages", json={**HELLO, "stream": True})
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "billing_error")


async def test_the_server_is_gone_when_it_is_left_also_with_a_connection_open() -> None:
    async with model_server(everything) as url:
        host, port = url.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
        _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


def talk(scenes: list[Scene], prompt: str, *results: str) -> list[Block]:
    """The next reply, after a prompt and so many tool results."""
    messages: list[dict[str, object]] = [{"role": "user", "content": prompt}]
    for text in results:
        messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]})
        block = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": text}]}
        messages.append({"role": "user", "content": [block]})
    decided = play(scenes)(Request(json.loads(json.dumps({**HELLO, "messages": messages, "tools": TOOLS}))))
    assert not isinstance(decided, Refuse)
    return list(decided)


def test_a_scene_is_played_step_by_step() -> None:
    scene = Scene("Mend it", (Look("a.py"), Shell("true")), "Done.", opening="I begin.")
    assert talk([scene], "Mend it") == [Say("I begin."), Call("read", {"path": "a.py"})]
    assert talk([scene], "Mend it", "x = 1") == [Call("run", {"command": "true"})]
    assert talk([scene], "Mend it", "x = 1", "") == [Say("Done.")]


def test_a_fork_goes_by_the_answer() -> None:
    scene = Scene(
        "T", (Ask("A or B?", ("A", "B")), Fork("A", (Put("a", "1"),), (Put("b", "1"),)), Shell("true")), "Done."
    )
    assert talk([scene], "T", "B") == [Call("write", {"path": "b", "text": "1"})]
    assert talk([scene], "T", "A") == [Call("write", {"path": "a", "text": "1"})]
    assert talk([scene], "T", "A", "written") == [Call("run", {"command": "true"})]


def test_the_task_named_first_is_the_one_and_its_cue_chooses_the_scene() -> None:
    first, again = Scene("T1", (Look("one"),), ""), Scene("T1", (Look("again"),), "", cue="FAIL")
    other = Scene("T2", (Look("two"),), "")
    assert talk([other, again, first], "T1 after T2") == [Call("read", {"path": "one"})]
    assert talk([other, again, first], "T1: FAIL") == [Call("read", {"path": "again"})]
    assert talk([other], "nothing known") == [Say("There is nothing for me to do here.")]
