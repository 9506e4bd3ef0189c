"""The crew's tools (memory, tasks, messages), fetched from the engine over MCP and offered to the model beside our own.

Where they cannot be reached the agent works without them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

OPEN_SECONDS, CALL_SECONDS = 15.0, 130.0
VERSION = "2025-11-25"
NOT_NEEDED = frozenset({"ask_supervisor"})
"""Tools for which the agent has one of its own."""


class CrewError(Exception):
    """The crew's tools did not answer as they should; the text tells the model why."""


@dataclass(slots=True)
class CrewTools:
    """The tools of one run, by their address and its token."""

    client: "httpx.AsyncClient"
    url: str
    offered: list[dict[str, Any]]
    """As the Messages API takes them."""
    _calls: int = 1

    @property
    def names(self) -> frozenset[str]:
        """What the tools are called."""
        return frozenset(tool["name"] for tool in self.offered)

    async def use(self, name: str, given: Mapping[str, Any]) -> tuple[str, bool]:
        """Use a tool: its text, and whether it failed. Raises CrewError."""
        result = await self._request("tools/call", {"name": name, "arguments": dict(given)}, CALL_SECONDS)
        blocks = result.get("content") or []
        text = "\n".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))
        return text, result.get("isError") is True

    async def load(self) -> None:
        """Learn which tools there are. Raises CrewError."""
        result = await self._request("tools/list", {}, OPEN_SECONDS)
        self.offered = [
            {"name": tool["name"], "description": tool.get("description", ""), "input_schema": tool["inputSchema"]}
            for tool in result.get("tools") or []
            if tool["name"] not in NOT_NEEDED
        ]

    async def _request(self, method: str, params: dict[str, Any], seconds: float) -> dict[str, Any]:
        import httpx

        self._calls += 1
        message = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        try:
            answer = await self.client.post(self.url, json=message, timeout=seconds)
            found = answer.json()
        except (httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CrewError(f"the crew's tools cannot be reached ({type(error).__name__})") from error
        result = found.get("result") if isinstance(found, dict) else None
        if not isinstance(result, dict):
            raise CrewError(f"the crew's tools refuse: {json.dumps(found)[:500]}")
        return result


async def open_crew(environ: Mapping[str, str]) -> CrewTools | None:
    """The crew's tools as the environment names them; None where there are none, or they do not answer."""
    url, token = environ.get("QD_MCP_URL"), environ.get("QD_RUN_TOKEN")
    if not url or not token:
        return None
    import httpx

    headers = {"Authorization": f"Bearer {token}", "MCP-Protocol-Version": VERSION, "Accept": "application/json"}
    client = httpx.AsyncClient(headers=headers, trust_env=False)
    crew = CrewTools(client, url, [])
    try:
        await crew.load()
    except (CrewError, KeyError, TypeError):
        await client.aclose()
        return None
    return crew
