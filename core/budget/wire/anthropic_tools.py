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

CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "browser_")
"""Tools that the client runs: the answer ends with each of their calls."""

BOUNDED = ("web_search", "web_fetch", "tool_search", "advisor")
"""Tools of the provider's whose results are bounded. Those of all others, such as code that it runs, may be anything."""

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
    """Answers that may be written beside the one that is asked for, by other models or as a summary, each as long."""


def own(body: Mapping[str, Any]) -> Own:
    """What a request allows. Raises ValueError when it leaves the choice of a model to the provider."""
    tools, added = objects_in(body.get("tools")), _added(body)
    if any(_is(tool, "advisor") for tool in added):
        raise ValueError("tools: an advisor has to be defined here, where its uses can be limited")
    web = [{**tool, **_web_limits(tool)} for tool in tools if _web_limits(tool)]
    advisors = [tool for tool in tools if _is(tool, "advisor")]
    fallbacks = _fallbacks(body)
    remote = (
        bool(body.get("mcp_servers"))
        or any(not _is(tool, *CLIENT_TOOLS, *BOUNDED) for tool in tools)
        or any(not _is(tool, *CLIENT_TOOLS) for tool in added)
    )
    compacts = _compacts(body)
    uses = sum(count(tool["max_uses"]) for tool in web)
    loops = remote or any(_is(tool, "tool_search") for tool in tools) or any(_filters(tool) for tool in web)
    speakers = sum(_uses(tool) for tool in advisors) + len(fallbacks)
    return Own(
        searches=sum(count(tool["max_uses"]) for tool in web if _is(tool, "web_search"))
        + LOOP * any(_is(tool, "web_search") for tool in added),
        rounds=max(uses, LOOP if loops else 0) + compacts + 2 * speakers,
        grows=max((count(tool.get("max_content_tokens", SEARCH_TOKENS)) for tool in web), default=0),
        opaque=remote or compacts or bool(body.get("container") or body.get("thread")),
        others=tuple(sorted({str(entry.get("model")) for entry in (*advisors, *fallbacks)})),
        speakers=speakers + compacts,
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
    less = max(min(budget * output // before, output * 3 // 4), LEAST_THINKING)  # something is left to say it with
    return {**asked, "max_tokens": output, **({"thinking": {**thinking, "budget_tokens": less}} if budget else {})}


def _is(tool: Mapping[str, Any], *kinds: str) -> bool:
    return str(tool.get("type") or "custom").startswith(kinds)


def _added(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Tools that the conversation itself defines."""
    blocks = [block for message in objects_in(body.get("messages")) for block in objects_in(message.get("content"))]
    found = [
        table(table(block.get("tool")).get("definition")) for block in blocks if block.get("type") == "tool_addition"
    ]
    return [definition for definition in found if definition]


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
