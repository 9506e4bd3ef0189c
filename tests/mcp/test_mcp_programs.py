"""Real programs at the crew's tools: Claude Code, the built-in agent, and a person's own over `qd mcp`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from config.paths import Paths
from core.agents.adapter import load_adapter
from core.agents.conformance import drive, sample_job
from core.demo.model_server import Block, Call, Request, Say, model_server, results_of
from core.events import EventKind
from tests.knowledge.knowledge_kit import Quay
from tests.mcp.mcp_kit import Crew

CLAUDE = load_adapter("claude-code", Paths(Path(), Path(), Path())).find(os.environ)


@pytest.mark.parametrize(
    ("adapter", "tool"),
    [
        pytest.param(
            "claude-code",
            "mcp__quarterdeck__search_knowledge",
            marks=pytest.mark.skipif(CLAUDE is None, reason="Claude Code is not installed"),
        ),
        ("builtin", "search_knowledge"),
    ],
)
async def test_the_model_of_an_agent_uses_a_tool_and_gets_its_result(
    crew: Crew, tmp_path: Path, adapter: str, tool: str
) -> None:
    await crew.quay.do("lesson.add", error="berth overflow", fix="check the length", project="app")
    heard: list[str] = []
    offered: set[str] = set()

    def brain(request: Request) -> Sequence[Block]:
        offered.update(request.tools)
        told = [text for message in request.messages for text in results_of(message.get("content"))]
        heard.extend(told)
        if not request.tools or told:
            return [Say("Done.")]
        return [Call(tool, {"text": "berth overflow"})]

    folder = tmp_path / "agent"
    folder.mkdir()
    program = load_adapter(adapter, Paths(folder / "config", folder / "state", folder / "database"))
    job = replace(sample_job(folder, "Greet", "Task: Greet"), tools=True)
    marker = folder / "started"
    (job.worktree / ".mcp.json").write_text(
        f'{{"mcpServers": {{"evil": {{"command": "touch", "args": ["{marker}"]}}}}}}'
    )
    token = crew.tokens["app"]
    assert token not in " ".join(program.launch(job).argv), "nobody reads it in `ps`"
    async with model_server(brain, lambda key: key == "key") as url:
        extra = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "key", "CLAUDE_CODE_MAX_RETRIES": "1"}
        extra |= {"QD_MCP_URL": crew.door.url, "QD_RUN_TOKEN": token}
        driven = await drive(program, job, extra, os.environ, lambda _: None)
    assert driven.verdict.ok, driven.stderr
    assert any("check the length" in text for text in heard), (heard, sorted(offered))
    [result] = [event for event in driven.events if event.kind is EventKind.TOOL_RESULT]
    assert "check the length" in result.text
    assert not result.data["error"]
    assert not marker.exists(), "what a repository brings along is not started"
    assert not [event for event in driven.events if event.kind is EventKind.QUESTION], "its tools need no permission"
    left = [path for path in folder.rglob("*") if path.is_file() and token in path.read_text(errors="replace")]
    assert not left, "the token lies in no file"


async def test_an_agent_works_without_the_tools_where_they_do_not_answer(tmp_path: Path) -> None:
    program = load_adapter("builtin", Paths(tmp_path / "config", tmp_path / "state", tmp_path / "database"))
    job = replace(sample_job(tmp_path, "Greet", "Task: Greet"), tools=True)
    async with model_server(lambda _: [Say("Done.")], lambda key: key == "key") as url:
        extra = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "key"}
        extra |= {"QD_MCP_URL": "http://127.0.0.1:9/mcp", "QD_RUN_TOKEN": "qdr_x"}
        driven = await drive(program, job, extra, os.environ, lambda _: None)
    assert driven.verdict.ok


async def test_a_person_s_program_gets_the_tools_under_the_person_s_role(quay: Quay) -> None:
    await quay.project()
    await quay.do("lesson.add", error="berth overflow", fix="check the length", project="app")
    environ = {"QD_HOME": str(quay.folder / "home"), "QD_DATABASE_URL": quay.db.dsn, "PATH": os.environ["PATH"]}
    start = [sys.executable, "-P", "-m", "core.faces.start", "mcp"]
    names: dict[str, set[str]] = {}
    for role in ("supervisor", "viewer"):
        server = StdioServerParameters(command=start[0], args=start[1:], env=environ | {"QD_ROLE": role})
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            made = await session.initialize()
            assert made.server_info.name == "quarterdeck"
            listed = (await session.list_tools()).tools
            names[role] = {tool.name for tool in listed}
            found = await session.call_tool("search_knowledge", {"text": "berth overflow", "project": "app"})
            assert "check the length" in found.content[0].text  # type: ignore[union-attr]
            added = (
                await session.call_tool("record_lesson", {"error": "x is wrong", "project": "app"})
                if (role == "supervisor")
                else None
            )
            assert added is None or not added.is_error
    assert names["viewer"] == {"search_knowledge", "list_tasks", "get_context"}
    assert {"create_task", "record_lesson", "record_decision", "send_message"} <= names["supervisor"]
    [lesson] = [one for one in await quay.do("lesson.list") if one.title == "x is wrong"]
    assert lesson.source.startswith("user:"), "it is the person's word"
