"""Starts the built-in agent: ``python -P -m core.agents.builtin [--model M]``.

It takes from its environment what an agent process finds there: ``QD_PROMPT_FILE``, ``QD_WORKTREE``, the
key and the address of the model.

Exit codes: 0 it believes to be done, 1 it failed, 2 the provider will not serve it (key, budget) or it was
started wrongly, 3 a limit of its own was reached, 130 it was interrupted.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.agents.builtin.files import Worktree
from core.agents.builtin.talk import Supervisor

if TYPE_CHECKING:
    import anthropic

RETRIES = 4
"""Times that the SDK tries again when the provider is busy or cannot be reached."""

SILENCE_SECONDS = 300.0
"""How long the provider may say nothing."""

HOPELESS = frozenset({401, 402, 403})
"""Statuses after which no other call will do better."""


def main() -> int:
    """Run the agent; returns the exit code."""
    arguments = _arguments()
    supervisor = Supervisor()
    try:
        return asyncio.run(_interruptible(arguments, supervisor, dict(os.environ)))
    except BrokenPipeError:
        return 1  # nobody reads what we say


async def _interruptible(arguments: argparse.Namespace, supervisor: Supervisor, environ: Mapping[str, str]) -> int:
    """The work as a task that SIGINT and SIGTERM cancel, so that a command under way is ended with it."""
    work = asyncio.create_task(_work(arguments, supervisor, environ))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        supervisor.tell("status", "interrupted", interrupted=True)
        return 130


async def _work(arguments: argparse.Namespace, supervisor: Supervisor, environ: Mapping[str, str]) -> int:
    prompt_file, key = environ.get("QD_PROMPT_FILE"), environ.get("ANTHROPIC_API_KEY")
    if not prompt_file or not key:
        supervisor.tell(
            "error",
            f"{'ANTHROPIC_API_KEY' if prompt_file else 'QD_PROMPT_FILE'} is not set: an engine starts this program",
        )
        return 2
    prompt = Path(prompt_file).read_text("utf-8", "replace")
    supervisor.listen()
    supervisor.tell("status", f"built-in agent with {arguments.model}", model=arguments.model)
    import anthropic

    from core.agents.builtin.loop import Agent, Limits
    from core.agents.builtin.tools import Tools

    limits = Limits(turns=arguments.max_turns, tokens=arguments.max_tokens)
    root = Path(environ.get("QD_WORKTREE") or os.getcwd())  # noqa: PTH109
    from core.agents.builtin.crew import open_crew

    tools = Tools(Worktree(root), supervisor, environ, await open_crew(environ))
    base = environ.get("ANTHROPIC_BASE_URL")
    try:
        async with anthropic.AsyncAnthropic(
            api_key=key, base_url=base, max_retries=RETRIES, timeout=SILENCE_SECONDS
        ) as client:
            stop = await Agent(client, arguments.model, tools, supervisor, limits).work(prompt)
    except anthropic.APIStatusError as error:
        hopeless = error.status_code in HOPELESS or _is_about_money(error)
        supervisor.tell(
            "error", f"the model's provider answered {error.status_code}: {_message(error)}", status=error.status_code
        )
        return 2 if hopeless else 1
    except anthropic.APIError as error:
        supervisor.tell("error", f"the model's provider cannot be reached: {error.message}")
        return 1
    supervisor.tell("error" if stop.code else "status", stop.text)
    return stop.code


def _message(error: "anthropic.APIStatusError") -> str:
    """The provider's own words."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error")
    return str(inner.get("message")) if isinstance(inner, dict) else error.message


def _is_about_money(error: "anthropic.APIStatusError") -> bool:
    """A used-up credit comes as 400 too, told by its words alone."""
    return error.status_code in (400, 429) and any(
        word in _message(error).lower() for word in ("credit balance", "insufficient")
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="core.agents.builtin", description="The built-in coding agent.")
    parser.add_argument("--model", default="claude-sonnet-5-5")
    parser.add_argument("--max-turns", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=5_000_000)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
