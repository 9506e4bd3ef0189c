"""What the providers refuse with 400: a limit that the model does not take, a field that they do not know.

The fields are those of their published clients, the limits those of their lists of models; none of it is read from the
program under test.
"""

from collections.abc import Mapping
from typing import Any

LIMITS = {
    "gpt-4o": 16_384,
    "gpt-5-pro": 272_000,
    "gemini-2.5-flash": 65_536,
    "claude-haiku-4-5": 64_000,
    "deepseek-chat": 8_192,
}
OTHERWISE = 128_000

ANTHROPIC = {
    *("max_tokens", "messages", "model", "cache_control", "compaction", "container", "context_management", "fallbacks"),
    *("inference_geo", "mcp_servers", "metadata", "output_config", "service_tier", "speed", "stop_sequences", "stream"),
    *("system", "temperature", "thinking", "thread", "tool_choice", "tools", "top_k", "top_p"),
}
CHAT = {
    *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens"),
    *("max_tokens", "messages", "metadata", "modalities", "model", "n", "parallel_tool_calls", "prediction"),
    *("presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "seed", "service_tier", "stop"),
    *("store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user"),
    *("verbosity", "web_search_options"),
}
OTHER = CHAT - {"max_completion_tokens", "stream_options", "store", "metadata", "service_tier", "verbosity"}
RESPONSES = {
    *("background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls"),
    *("metadata", "model", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "reasoning"),
    *("service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_p"),
    *("truncation", "user"),
}
GEMINI = {
    *("contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "safetySettings"),
    *("generationConfig", "generation_config", "cachedContent", "serviceTier"),
}


def _limit(body: Mapping[str, Any], field: str, model: str, least: int = 1) -> str | None:
    asked, most = body.get(field), LIMITS.get(model, OTHERWISE)
    if asked is None or least <= asked <= most:
        return None
    return (
        f"{field}: {asked} is not between {least} and {most}, which is the maximum allowed number of tokens for {model}"
    )


def _unknown(body: Mapping[str, Any], known: set[str]) -> str | None:
    strange = sorted(body.keys() - known)
    return f"{strange[0]}: Extra inputs are not permitted" if strange else None


def anthropic(body: Mapping[str, Any], model: str) -> str | None:
    """Why ``POST /v1/messages`` refuses a request; None when it takes it."""
    thinks = (body.get("thinking") or {}).get("budget_tokens")
    if thinks is not None and not 1024 <= thinks < body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`, which must be at least 1024"
    return _unknown(body, ANTHROPIC) or _limit(body, "max_tokens", model)


def chat(body: Mapping[str, Any], model: str) -> str | None:
    """The same of ``POST /chat/completions`` at OpenAI."""
    if "max_tokens" in body and model.startswith(("o1", "o3", "o4", "gpt-5", "gpt-6")):
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    return _unknown(body, CHAT) or _limit(body, "max_completion_tokens", model) or _limit(body, "max_tokens", model)


def other_chat(body: Mapping[str, Any], model: str) -> str | None:
    """The same at somebody who speaks an older form of the protocol."""
    return _unknown(body, OTHER) or _limit(body, "max_tokens", model)


def responses(body: Mapping[str, Any], model: str) -> str | None:
    """The same of ``POST /responses``."""
    return _unknown(body, RESPONSES) or _limit(body, "max_output_tokens", model, 16)


def gemini(body: Mapping[str, Any], model: str) -> str | None:
    """The same of ``:generateContent``."""
    config = body.get("generationConfig") or body.get("generation_config") or {}
    return _unknown(body, GEMINI) or _limit(config, "maxOutputTokens", model)
