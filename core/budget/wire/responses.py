"""OpenAI responses (https://platform.openai.com/docs/api-reference/responses and /responses-streaming).

A stream ends with ``response.completed``, ``response.incomplete`` or ``response.failed``, which carry the whole
answer with its usage.
"""

from collections.abc import Mapping
from typing import Any

from core.budget.wire import openai
from core.budget.wire.base import (
    SEARCH_TOKENS,
    Demand,
    Fault,
    LineReader,
    Reader,
    Refusal,
    Terms,
    WholeReader,
    event_of,
    fault_of,
    objects_in,
    positive,
    table,
)

LEAST_OUTPUT = 16
"""The provider refuses a smaller ``max_output_tokens``."""

ENDS = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"')


class ResponsesWire:
    """``POST /v1/responses``."""

    name = "responses"
    provider = "openai"
    base_url = openai.BASE_URL
    image_tokens = openai.IMAGE_TOKENS

    def demand(self, body: dict[str, Any]) -> Demand:
        """What the request asks for. Raises ValueError."""
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise ValueError("you must provide a model parameter")
        if body.get("background") is True:
            raise ValueError("background: an answer that comes later cannot be metered; send the request without it")
        output = positive(body, "max_output_tokens")
        images, hidden = openai.pictures(part for item in objects_in(body.get("input")) for part in _parts(item))
        remote = openai.tools_of_its_own(body)
        looks = {kind for kind in remote if kind.startswith("web_search")}
        refers = any(body.get(name) for name in ("previous_response_id", "conversation", "prompt"))
        calls = openai.tool_calls(body) if remote else 0
        return Demand(
            model=model,
            stream=body.get("stream") is True,
            output=output,
            least=min(LEAST_OUTPUT, output or LEAST_OUTPUT),
            searches=calls if looks else 0,
            fees=openai.container_fee(body) + (calls * openai.FILE_SEARCH_FEE if "file_search" in remote else 0),
            rounds=calls + bool(body.get("context_management")),  # a summary is a pass of its own
            grows=SEARCH_TOKENS if looks else 0,
            opaque=refers or openai.refers(body.get("input")) or bool(remote - looks),
            unseen=openai.may_think(model, table(body.get("reasoning")).get("effort")),
            images=images,
            hidden=hidden,
            options=openai.options(body),
        )

    def adapt(self, body: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The request on these terms."""
        sent = {**body, "model": terms.model, **openai.tier(body, terms)}
        if terms.output is not None:
            sent["max_output_tokens"] = terms.output
        if terms.priced and openai.tools_of_its_own(body):
            sent["max_tool_calls"] = openai.tool_calls(body)
        return sent

    def reader(self, demand: Demand, body: Mapping[str, Any]) -> Reader:
        """A reader for the answer."""
        box = openai.container_fee(body)
        return _Stream(box) if demand.stream else _Whole(box)

    def refusal(self, kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the error."""
        return openai.error(kind, message)

    def auth(self, key: str) -> dict[str, str]:
        """The header of a key."""
        return {"authorization": f"Bearer {key}"}


def _parts(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the model sees of an item: a message's content, or what a tool of the client's has put out."""
    if str(item.get("type", "message")) == "message":
        return objects_in(item.get("content"))
    output = item.get("output") if str(item["type"]).endswith("_call_output") else None
    return [output] if isinstance(output, dict) else objects_in(output)


class _Stream(LineReader):
    def __init__(self, box: int) -> None:
        super().__init__()
        self.box = box

    def _line(self, line: bytes) -> None:
        head = line[:200]
        if b".delta" in head:
            self._grow(line, "delta")
            return
        if b".output_item.added" in head:
            self._grow(line, "item")
            return
        if not any(mark in head for mark in ENDS):
            return
        event = event_of(line)
        answer = table(event.get("response"))
        match event.get("type"):
            case "error":
                self.fault = Fault(str(event.get("code") or "error")[:100], str(event.get("message") or "")[:500])
            case "response.failed":
                self.fault = fault_of(answer) or Fault("failed", "")
        if isinstance(answer.get("usage"), dict):
            _read(self, answer)


class _Whole(WholeReader):
    def __init__(self, box: int) -> None:
        super().__init__()
        self.box = box

    def _whole(self, value: dict[str, Any]) -> None:
        self.fault = fault_of(value)
        if isinstance(value.get("usage"), dict):
            _read(self, value)


def _read(reader: _Stream | _Whole, answer: Mapping[str, Any]) -> None:
    calls = [str(item.get("type")) for item in objects_in(answer.get("output"))]
    ran = any(kind in ("code_interpreter_call", "shell_call") for kind in calls)
    fees = calls.count("file_search_call") * openai.FILE_SEARCH_FEE + (reader.box if ran else 0)
    reader.model = str(answer.get("model") or "") or None
    searched = calls.count("web_search_call")
    reader._used = openai.read_usage(answer["usage"], answer.get("service_tier"), searched, fees)  # noqa: SLF001 - the same module
    reader.complete = True
