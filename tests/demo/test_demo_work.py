"""The demonstration's work, done for real: each task by its agent's own program, in order, without an engine."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from config.paths import Paths
from core.agents.adapter import Job, load_adapter
from core.agents.conformance import Driven, drive
from core.demo.model_server import model_server
from core.demo.samples import SampleProject, make_samples
from core.demo.script import TASKS, DemoTask, answer_for, demo_brain
from core.events import Event, EventKind


async def test_the_dozen_tasks_make_the_sample_repositories_whole(tmp_path: Path) -> None:
    samples = {sample.id: sample for sample in await make_samples(tmp_path / "samples")}
    before = {project: suite(sample) for project, sample in samples.items()}
    assert all(code != 0 for code in before.values()), "the samples must begin with failing tests"
    assert all(gate(sample).returncode == 0 for sample in samples.values()), "the gate passes before anything is done"

    asked: list[Event] = []
    refused: list[str] = []

    async def finish(sample: SampleProject) -> None:
        for task in TASKS:
            if task.project == sample.id:
                await finish_task(task, sample)

    async def finish_task(task: DemoTask, sample: SampleProject) -> None:
        feedback = ""
        for attempt in (1, 2):
            driven = await work_on(task, sample, tmp_path / f"{task.key}-{attempt}", url, attempt, feedback)
            assert driven.verdict.ok, (task.key, driven.verdict, driven.stderr)
            asked.extend(event for event in driven.events if event.kind is EventKind.QUESTION)
            judged = gate(sample)
            if judged.returncode == 0:
                break
            refused.append(f"{task.key}.{attempt}")
            feedback = judged.stdout
        assert judged.returncode == 0, (task.key, judged.stdout)
        assert set(changed(sample)) == set(task.paths), (task.key, driven.events)
        commit(sample, task.title)

    async with model_server(demo_brain(), lambda key: key == "demo") as url, asyncio.TaskGroup() as group:
        for sample in samples.values():
            group.create_task(finish(sample))

    assert refused == ["amounts.1"], "one task fails its gate first, and is mended on the second attempt"
    assert [event.data["kind"] for event in asked if event.data.get("tool") != "Bash"] == ["question"]
    assert {project: suite(sample) for project, sample in samples.items()} == {"harbour": 0, "lantern": 0}
    assert not [path for sample in samples.values() for path in (sample.path / "known-failures").glob("*.txt")]
    assert "self.assertRaisesRegex" in (samples["lantern"].path / "tests/test_template.py").read_text()


def test_there_are_a_dozen_tasks_with_a_diamond_that_never_touch_the_same_file() -> None:
    by_key = {task.key: task for task in TASKS}
    assert len(by_key) == len({task.title for task in TASKS}) == 12
    assert all(set(task.after) <= set(list(by_key)[:place]) for place, task in enumerate(TASKS))
    paths = [(task.project, path) for task in TASKS for path in task.paths]
    assert len(paths) == len(set(paths))
    assert by_key["report"].after == ("voyages", "schedule")
    assert by_key["voyages"].after == by_key["schedule"].after == ("durations",)


async def test_two_makings_of_the_samples_are_the_same_commit(tmp_path: Path) -> None:
    first, second = await make_samples(tmp_path / "a b"), await make_samples(tmp_path / "c")
    assert [git(one, "rev-parse", "HEAD") for one in first] == [git(one, "rev-parse", "HEAD") for one in second]


async def work_on(task: DemoTask, sample: SampleProject, folder: Path, url: str, attempt: int, feedback: str) -> Driven:
    """One attempt at a task, in the repository itself."""
    folder.mkdir()
    paths = Paths(config=folder / "config", state=folder / "state", database=folder / "database")
    adapter = load_adapter(task.agent, paths)
    others = "\n".join(f"- {other.title}" for other in TASKS if other.key in task.after)
    prompt = f"Task: {task.title}\n\n{task.description}\n\nDone before:\n{others}\n\n{feedback}"
    (folder / "prompt.md").write_text(prompt)
    job = Job(
        run_id=f"{task.key}-{attempt}",
        task_number=1,
        title=task.title,
        prompt=prompt,
        prompt_file=folder / "prompt.md",
        context_file=folder / "context.json",
        worktree=sample.path,
        branch="main",
        base_commit="",
        project=sample.id,
        attempt=attempt,
    )

    def reply(event: Event) -> bytes | None:
        if event.kind is not EventKind.QUESTION:
            return None
        text = answer_for(event.data)
        return adapter.answer(str(event.data["id"]), event.data, text, text if text == "allow" else None)

    extra = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "demo"}
    return await drive(adapter, job, extra, os.environ, reply)


def gate(sample: SampleProject) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", sample.verify[0]], cwd=sample.path, capture_output=True, text=True, timeout=60, check=False
    )


def suite(sample: SampleProject) -> int:
    command = [sys.executable, "-B", "-m", "unittest", "-q"]
    return subprocess.run(command, cwd=sample.path, capture_output=True, timeout=60, check=False).returncode


def git(sample: SampleProject, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(sample.path), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def changed(sample: SampleProject) -> list[str]:
    return [line[3:] for line in git(sample, "status", "--porcelain", "--untracked-files=all").splitlines()]


def commit(sample: SampleProject, title: str) -> None:
    git(sample, "add", "--all")
    git(sample, "commit", "--quiet", "--message", title)
