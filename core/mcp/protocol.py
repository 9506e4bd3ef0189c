"""JSON-RPC as MCP has it, as far as a server of tools needs it; transports hand in messages and send what comes back.

The server keeps no session: each request stands for itself, so that it may be answered by another process than the
one before. Source: https://modelcontextprotocol.io/specification/2025-11-25.
"""

import asyncio
import json
import logging
from typing import Any

from core import VERSION
from core.commands.table import Context
from core.mcp import tools

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Of the protocol, the newest first; of tools all say the same."""

CALL_SECONDS = 120.0
"""How long one call may take."""

PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603

INSTRUCTIONS = (
    "The crew's memory and its means to talk: search_knowledge before you begin and whenever something is unclear,"
    " record_decision and record_lesson for what others should know, create_task for what is left over, ask_supervisor"
    " only for what a person must decide."
)

log = logging.getLogger("qd.mcp")


def parse(raw: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for what is none."""
    try:
        return json.loads(raw, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


async def respond(context: Context, message: Any) -> dict[str, Any] | None:
    """The response to one message; None to what wants none (notifications, responses)."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return failure(None, REQUEST, "a JSON-RPC 2.0 object is wanted")
    number, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        return None if "result" in message or "error" in message else failure(None, REQUEST, "there is no method")
    if "id" not in message:
        return None
    if isinstance(number, bool) or not isinstance(number, str | int):
        return failure(None, REQUEST, "an id is a text or a whole number")
    if not isinstance(params, dict):
        return failure(number, PARAMS, "params must be an object")
    match method:
        case "initialize":
            return success(number, _initialized(params))
        case "ping":
            return success(number, {})
        case "tools/list":
            return success(number, {"tools": [offer.listed() for offer in tools.offers(context.who)]})
        case "tools/call":
            return await _called(context, number, params)
    return failure(number, METHOD, f"there is no method {method[:100]!r}")


def success(number: str | int, result: dict[str, Any]) -> dict[str, Any]:
    """A response with a result."""
    return {"jsonrpc": "2.0", "id": number, "result": result}


def failure(number: str | int | None, code: int, words: str) -> dict[str, Any]:
    """A response with an error."""
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": words}}


def _initialized(params: dict[str, Any]) -> dict[str, Any]:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": "quarterdeck", "title": "Quarterdeck", "version": VERSION},
        "instructions": INSTRUCTIONS,
    }


async def _called(context: Context, number: str | int, params: dict[str, Any]) -> dict[str, Any]:
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict | None):
        return failure(number, PARAMS, "a name and an object of arguments are wanted")
    try:
        async with asyncio.timeout(CALL_SECONDS):
            result = await tools.call(context, name, arguments or {})
    except LookupError:
        return failure(number, PARAMS, f"there is no tool {name[:100]!r}")
    except TimeoutError:
        result = tools.Result(f"{name} took more than {CALL_SECONDS:.0f} s", failed=True)
    except Exception:  # a boundary: what a tool trips over must not end whoever hosts it
        log.exception("tool %s met a bug", name)
        return failure(number, INTERNAL, f"{name} met an internal error")
    return success(number, {"content": [{"type": "text", "text": result.text}], "isError": result.failed})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
