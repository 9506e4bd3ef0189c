"""What a request lets Anthropic do on its own: tools that it runs, other models that it asks.

Each of them sends the prompt through a model once more
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools). How often is limited in the request, by the
client or by the gateway; where no limit can be given, by the provider's own loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.budget.wire.base import LOOP, SEARCH_TOKENS, SEARCHES, count, objects_in, table

FETCH_TOKENS = 25_000
"""Tokens of one page that is fetched, where the request does not say how many it wants."""

LEAST_THINKING = 1024
"""The provider refuses a smaller ``thinking.budget_tokens``, and one that is not below ``max_tokens``."""

LOOPS = ("code_execution", "mcp_toolset")
"""Tools whose results no bytes of the request bound."""

FILTERS_SINCE = "20260209"
"""From this version on, searches and fetches run code over what they have found."""


@dataclass(frozen=True, slots=True)
class Own:
    """What may happen beside the one pass through the model that is asked."""

    searches: int
    rounds: int
    grows: int
    opaque: bool
    others: tuple[str, ...]
    speakers: int
    """Answers that may be written by other models, each as long as the one that is asked for."""


def own(body: Mapping[str, Any]) -> Own:
    """What a request allows. Raises ValueError when it leaves the choice of a model to the provider."""
    tools = objects_in(body.get("tools"))
    web = [{**tool, **_web_limits(tool)} for tool in tools if _web_limits(tool)]
    advisors = [tool for tool in tools if _is(tool, "advisor")]
    fallbacks = _fallbacks(body)
    remote = any(_is(tool, *LOOPS) for tool in tools) or bool(body.get("mcp_servers"))
    compacts = _compacts(body)
    uses = sum(count(tool["max_uses"]) for tool in web)
    loops = remote or any(_is(tool, "tool_search") for tool in tools) or any(_filters(tool) for tool in web)
    speakers = sum(_uses(tool) for tool in advisors) + len(fallbacks)
    return Own(
        searches=sum(count(tool["max_uses"]) for tool in web if _is(tool, "web_search")),
        rounds=max(uses, LOOP if loops else 0) + compacts + 2 * speakers,
        grows=max((count(tool.get("max_content_tokens", SEARCH_TOKENS)) for tool in web), default=0),
        opaque=remote or compacts or bool(body.get("container") or body.get("thread")),
        others=tuple(sorted({str(entry.get("model")) for entry in (*advisors, *fallbacks)})),
        speakers=speakers,
    )


def limited(body: Mapping[str, Any], output: int) -> dict[str, Any]:
    """The fields of a request that change so that it is within its limits, for answers of so many tokens."""
    changed: dict[str, Any] = {}
    if isinstance(body.get("tools"), list):
        changed["tools"] = [
            {**tool, **_web_limits(tool), **_advisor_limits(tool, output)} if isinstance(tool, dict) else tool
            for tool in body["tools"]
        ]
    if fallbacks := _fallbacks(body):
        changed["fallbacks"] = [shorter(entry, output) if entry.get("max_tokens") else entry for entry in fallbacks]
    return changed


def shorter(asked: Mapping[str, Any], output: int) -> dict[str, Any]:
    """An answer that is asked for, of at most so many tokens; the model thinks less where it may say less."""
    before = count(asked.get("max_tokens"))
    thinking = table(asked.get("thinking"))
    budget = count(thinking.get("budget_tokens"))
    if before <= output:
        return dict(asked)
    less = max(min(budget * output // before, output - 1), LEAST_THINKING)
    return {**asked, "max_tokens": output, **({"thinking": {**thinking, "budget_tokens": less}} if budget else {})}


def _is(tool: Mapping[str, Any], *kinds: str) -> bool:
    return str(tool.get("type", "")).startswith(kinds)


def _uses(tool: Mapping[str, Any]) -> int:
    return count(tool.get("max_uses")) or SEARCHES


def _web_limits(tool: Mapping[str, Any]) -> dict[str, int]:
    """The limits that a tool is sent on with: empty for what does not look into the web."""
    if not _is(tool, "web_search", "web_fetch"):
        return {}
    limits = {"max_uses": _uses(tool)}
    if _is(tool, "web_fetch"):
        limits["max_content_tokens"] = count(tool.get("max_content_tokens")) or FETCH_TOKENS
    return limits


def _advisor_limits(tool: Mapping[str, Any], output: int) -> dict[str, int]:
    if not _is(tool, "advisor"):
        return {}
    return {"max_uses": _uses(tool), "max_tokens": min(count(tool.get("max_tokens")) or output, output)}


def _filters(tool: Mapping[str, Any]) -> bool:
    return str(tool["type"]).rpartition("_")[2] >= FILTERS_SINCE and tool.get("allowed_callers") != ["direct"]


def _compacts(body: Mapping[str, Any]) -> bool:
    """Whether the provider may summarize the conversation, a pass of its own. Other edits only leave things out."""
    edits = objects_in(table(body.get("context_management")).get("edits"))
    return any(not str(edit.get("type")).startswith("clear_") for edit in edits)


def _fallbacks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = body.get("fallbacks")
    if asked is not None and not isinstance(asked, list):
        raise ValueError("fallbacks: name the models, so that their prices are known")
    return objects_in(asked)
