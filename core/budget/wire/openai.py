"""What both OpenAI protocols share: errors, keys, and what in a request cannot be bounded by its bytes.

``prompt_tokens`` (chat) and ``input_tokens`` (responses) include what came from the cache and what was written to it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from core.budget.wire.base import SEARCHES, Refusal, Terms, Tokens, Used, count, objects, table

ERRORS = {
    Refusal.BUDGET: (402, "insufficient_quota", "insufficient_quota"),
    Refusal.TOKEN: (401, "invalid_request_error", "invalid_api_key"),
    Refusal.REQUEST: (400, "invalid_request_error", None),
    Refusal.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    Refusal.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Refusal.UNAVAILABLE: (503, "server_error", "service_unavailable"),
}

BASE_URL = "https://api.openai.com/v1"

IMAGE_TOKENS = 50_000
"""Most tokens of one picture: 2,833 + 5,667 for each of eight tiles, on the models that count them dearest."""

SERVICE_TIERS = ("auto", "default", "flex", "priority", "fast")


SPEAKS_AT_ONCE = ("gpt-3.5", "gpt-4", "chatgpt-4o")
"""Models that do not think before they speak, by how their names begin."""


def may_think(model: str, effort: Any) -> bool:
    """Whether a model may spend tokens on thinking that it does not show."""
    return effort != "none" and not model.lower().rpartition("/")[2].startswith(SPEAKS_AT_ONCE)


def error(kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the provider's own error."""
    status, type_, code = ERRORS[kind]
    return status, {"error": {"message": message, "type": type_, "param": None, "code": code}}


def options(body: Mapping[str, Any]) -> dict[str, str]:
    """The service tier that a request asks for; left out, it is the standard one."""
    tier = body.get("service_tier")
    return {"service_tier": tier} if tier in SERVICE_TIERS else {}


def tier(body: Mapping[str, Any], terms: Terms) -> dict[str, str]:
    """The service tier that a request is sent on with: left out, an account may have a dearer one set."""
    return {"service_tier": terms.service_tier} if terms.service_tier and body.get("service_tier") is None else {}


def pictures(parts: Iterable[Any]) -> tuple[int, int]:
    """(pictures among the parts of a message or of a tool's result, their bytes in the request).

    Anywhere else, as in the arguments of a call, what looks like a picture is read as text.
    """
    images = hidden = 0
    for part in parts:
        if table(part).get("type") in ("image_url", "input_image", "computer_screenshot"):
            address = part.get("image_url")
            address = address.get("url") if isinstance(address, dict) else address
            images += 1
            hidden += len(address) if isinstance(address, str) and address.startswith("data:image/") else 0
    return images, hidden


def refers(value: Any) -> bool:
    """Whether a conversation refers to what the request does not show, or brings what bytes do not bound."""
    kinds = ("file", "input_file", "input_audio", "item_reference")
    return any(item.get("type") in kinds for item in objects(value))


FILE_SEARCH_FEE = 2_500
"""Micro-dollars of one call of ``file_search`` (https://platform.openai.com/docs/pricing)."""

CONTAINER_FEES = {"1g": 30_000, "4g": 120_000, "16g": 480_000, "64g": 1_920_000}
"""Micro-dollars of one container of ``code_interpreter`` or of a hosted shell, by its memory."""

CLIENT_TOOLS = {"function", "custom", "namespace", "local_shell", "apply_patch", "computer", "computer_use_preview"}
"""Tools that the client runs: the request ends with each of their calls."""


def tools_of_its_own(body: Mapping[str, Any]) -> set[str]:
    """The kinds of tools that the provider runs itself."""
    tools = body.get("tools")
    if not isinstance(tools, list):
        return set()
    return {kind for tool in tools if isinstance(tool, dict) and (kind := _kind(tool)) not in CLIENT_TOOLS}


def _kind(tool: Mapping[str, Any]) -> str:
    kind = str(tool.get("type", ""))
    hosted = str(table(tool.get("environment")).get("type", "")).startswith("container")
    return "local_shell" if kind == "shell" and not hosted else kind


def container_fee(body: Mapping[str, Any]) -> int:
    """Micro-dollars of the container that a request may start; 0 where it starts none."""
    tools = body.get("tools")
    boxes = [
        table(tool.get("container") or tool.get("environment"))
        for tool in (tools if isinstance(tools, list) else [])
        if isinstance(tool, dict) and _kind(tool) in ("code_interpreter", "shell")
    ]
    return sum(CONTAINER_FEES.get(str(box.get("memory_limit") or "1g"), max(CONTAINER_FEES.values())) for box in boxes)


def tool_calls(body: Mapping[str, Any]) -> int:
    """Most calls of the provider's own tools in one request; it is sent on with this limit."""
    return count(body.get("max_tool_calls")) or SEARCHES


def read_usage(usage: Mapping[str, Any], tier: Any = None, searched: int = 0, fees: int = 0) -> Used:
    """A usage object of either protocol as ours.

    xAI and Gemini's form of this protocol count what was thought beside the completion: their total tells.
    """
    prompt = count(usage.get("prompt_tokens", usage.get("input_tokens")))
    output = count(usage.get("completion_tokens", usage.get("output_tokens")))
    output = max(output, count(usage.get("total_tokens")) - prompt)
    details = table(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    spoken = table(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    read = min(count(details.get("cached_tokens")), prompt)
    written = min(count(details.get("cache_write_tokens")), prompt - read)
    parts = {"input_audio": count(details.get("audio_tokens")), "output_audio": count(spoken.get("audio_tokens"))}
    tokens = Tokens(
        input=prompt - read - written,
        cache_read=read,
        cache_write_5m=written,
        output=output,
        thinking=min(count(spoken.get("reasoning_tokens")), output),
    )
    choices = {"service_tier": tier} if isinstance(tier, str) else {}
    looked = count(usage.get("num_sources_used")) or searched
    return Used(tokens, {name: n for name, n in parts.items() if n}, looked, choices, fees)
