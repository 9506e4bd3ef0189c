"""From a claimed task to the first instruction of its agent: worktree, set-up, what the agent is told, keeper."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError
from core.agents.adapter import Adapter, Job
from core.engine.prompt import compose_prompt, run_environment
from core.engine.shipper import OvertakenError
from core.events import EventKind
from core.keeper import client as keeper
from core.knowledge.engine_side import tell
from core.verify.gates import Shell, run_command
from core.workspace import repository, worktree
from core.workspace.project_file import read_project_file, read_project_file_at
from core.workspace.repository import Repository
from core.workspace.worktree import Worktree
from storage.queries import engine as rows
from storage.queries.engine import Work

if TYPE_CHECKING:
    from core.engine.life import Life

MODEL_KEYS = ("QD_RUN_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
PREPARED = "qd-prepared"
"""In the administrative folder of a worktree whose set-up has come to its end."""


async def prepare(life: "Life", branch: str) -> Worktree:
    """The worktree, with what the repository says it needs. A preparation that was cut off is done again."""
    work, runtime = life.work, life.runtime
    repo = await runtime.repository(work.repository)
    base = work.base or await runtime.default_base(repo)
    await repository.fetch(repo, if_older_than=runtime.settings.run.fetch_seconds, base=base)
    commit = await repository.base_commit(repo, base)
    tree = await _own_tree(life, repo, branch, commit)
    if tree.branch != branch:
        await runtime.persist(rows.rename_branch, life.run, work.number, tree.branch)
    life.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    prepared = tree.git_dir / PREPARED
    if not prepared.exists():
        await _set_up(life, tree)
        prepared.touch()
    return tree


async def _own_tree(life: "Life", repo: Repository, branch: str, commit: str) -> Worktree:
    """The worktree of the task on this host: engines that share a repository have one each, on a branch of its own."""
    work = life.work
    left = await worktree.reopen(repo, life.tree_path)
    if left and left.git_dir.is_dir() and left.branch.startswith(f"qd/{work.number}-"):
        branch = left.branch  # another engine had this task meanwhile, under another name
    try:
        return await worktree.create(repo, life.tree_path, branch, commit)
    except worktree.BranchInUseError:
        # An engine that shares the repository had this task, and its run may live yet.
        other = f"{worktree.branch_name(work.number, work.title)}-{life.attempt}"
        return await worktree.create(repo, life.tree_path, other, commit)


async def start(life: "Life", adapter: Adapter, tree: Worktree) -> None:
    """Write what the agent is told and start its keeper. Raises OvertakenError when the run has another engine by now."""
    work, runtime = life.work, life.runtime
    settings = runtime.settings.run
    known = await tell(runtime, work, life.run, tree)
    prompt = compose_prompt(work, branch=tree.branch, verify=await gate_commands(work, tree), context=known.prompt)
    prompt_file, context_file = life.folder / "prompt.md", life.folder / "context.json"
    _write_private(prompt_file, prompt)
    _write_private(context_file, known.file)
    metered = await runtime.money.environment(life.run, work.adapter)
    tools = await runtime.tooling.environment(life.run, metered.get("QD_RUN_TOKEN"))
    launch = adapter.launch(
        Job(
            run_id=str(life.run_id),
            task_number=work.number,
            title=work.title,
            prompt=prompt,
            prompt_file=prompt_file,
            context_file=context_file,
            worktree=tree.path,
            branch=tree.branch,
            base_commit=tree.base_commit,
            project=work.project,
            attempt=life.attempt,
            model=work.model,
            command=work.command,
            session=work.last_session,
            tools=bool(tools),
        )
    )
    env = project_environment(life, tree)
    env |= {"QD_PROMPT_FILE": str(prompt_file), "QD_CONTEXT_FILE": str(context_file)}
    env |= (metered or unmetered_environment()) | tools
    env |= {str(name): str(value) for name, value in work.agent_env.items()}
    env |= launch.env
    spec = keeper.Spec(
        argv=launch.argv,
        env=env,
        cwd=tree.path,
        mark=str(life.run_id),
        socket=life.socket,
        limits=keeper.Limits(
            wall_seconds=settings.wall_seconds,
            output_bytes=settings.output_bytes,
            memory_bytes=settings.memory_bytes,
        ),
        grace=keeper.Grace(settings.interrupt_seconds, settings.terminate_seconds),
        opening=launch.opening,
        stdin_open=launch.stdin_open,
    )
    pid = await keeper.launch(life.folder, spec)
    columns: dict[str, Any] = {"status": "running", "pid": pid, "base_commit": tree.base_commit}
    if launch.session:
        columns["session"] = launch.session
    if not await runtime.persist(rows.update_run, life.run, **columns):
        raise OvertakenError
    runtime.changed_task(work.number, "run", f"run:{life.run}", "run-input")


def shell(life: "Life", tree: Worktree) -> Shell:
    """How commands of the project are run for a run: its environment, without a token."""
    settings = life.runtime.settings.run
    return Shell(
        folder=life.folder,
        sockets=life.runtime.paths.sockets,
        worktree=tree.path,
        env=project_environment(life, tree),
        mark=str(life.run_id),
        seconds=settings.gate_seconds,
        memory_bytes=settings.memory_bytes,
    )


def project_environment(life: "Life", tree: Worktree) -> dict[str, str]:
    """What the agent and the gates of a run both know."""
    return run_environment(
        life.runtime.environ,
        life.work,
        run_id=str(life.run_id),
        attempt=life.attempt,
        worktree=tree.path,
        branch=tree.branch,
        base_commit=tree.base_commit,
    )


async def gate_commands(work: Work, tree: Worktree) -> Sequence[str]:
    """The checks of a project: as registered, else as its base says; never as the agent may have rewritten them."""
    return work.verify or (await read_project_file_at(tree.repo, tree.base_commit)).verify or ()


def unmetered_environment() -> dict[str, str]:
    """The names that an agent may rely on, where nothing is metered: a token that opens nothing stands in for keys."""
    return dict.fromkeys(MODEL_KEYS, f"qdr_{secrets.token_urlsafe(32)}")


async def _set_up(life: "Life", tree: Worktree) -> None:
    project_file = read_project_file(tree.path)
    if project_file.include:
        await worktree.include(tree, Path(life.work.repository), project_file.include)
    if note := await worktree.update_submodules(tree):
        await life.note(EventKind.STATUS, note)
    for position, command in enumerate(project_file.setup, start=1):
        await life.note(EventKind.STATUS, f"setup: {command}")
        poke = life.runtime.pokes.of(life.folder)
        result = await run_command(shell(life, tree), f"setup-{position}", command, poke)
        if result.status != "passed":
            raise QuarterdeckError(
                f"setup command {command!r} failed: {result.output[-500:].strip()}", "see .quarterdeck.toml"
            )


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", errors="replace")
