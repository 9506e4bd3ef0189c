"""An agent may write anything into its worktree; our git runs nothing of it and is not led elsewhere."""

import os
import shutil
from pathlib import Path

import pytest
from workspace_kit import commit, fingerprint, make_repository, run_git, write

from config.errors import QuarterdeckError
from core.workspace.git import GitError
from core.workspace.leftovers import clean, leftovers
from core.workspace.rebasing import rebase
from core.workspace.worktree import Worktree, commit_all, diff, diff_so_far, diff_stat, head, remove, salvage

EVERYTHING_THAT_RUNS = """
[core]
\tfsmonitor = {evil}
\thooksPath = {hooks}
\tsshCommand = {evil}
\tpager = {evil}
\teditor = {evil}
\taskPass = {evil}
[diff]
\texternal = {evil}
[diff "evil"]
\tcommand = {evil}
\ttextconv = {evil}
[filter "evil"]
\tclean = {evil}
\tsmudge = {evil}
\tprocess = {evil}
[gpg]
\tprogram = {evil}
[commit]
\tgpgSign = true
[sequence]
\teditor = {evil}
"""


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a trace when it is run."""
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/it-ran'\ncat\n")
    program.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "post-checkout",
        "pre-rebase",
        "reference-transaction",
        "post-index-change",
        "pre-push",
        "post-merge",
    ):
        shutil.copy(program, hooks / name)
    return program


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


async def use_all(worktree: Worktree, person: Path) -> str:
    """All that the engine does with a worktree in the life of a task."""
    await diff_so_far(worktree, max_bytes=100_000)
    await salvage(worktree, "r1")
    await commit_all(worktree, "m")
    moved = commit(person, "main goes on", m_dot_txt="m")
    result = await rebase(worktree, moved)
    assert result.ok
    await diff_stat(worktree, moved, result.head)
    return await diff(worktree.repo, moved, result.head, max_bytes=100_000)


async def test_a_rewritten_git_file_leads_nowhere_and_runs_nothing(
    worktree: Worktree, person: Path, trap: Path, tmp_path: Path
) -> None:
    fake = make_repository(tmp_path / "fake") / ".git"
    append(fake / "config", EVERYTHING_THAT_RUNS.format(evil=trap, hooks=tmp_path / "hooks"))
    (worktree.path / ".git").write_text(f"gitdir: {fake}\n")
    write(worktree.path, _dot_gitattributes="* filter=evil diff=evil\n", work_dot_txt="work")
    patch = await use_all(worktree, person)
    assert "+work" in patch
    assert not (tmp_path / "it-ran").exists()
    assert run_git(person, "show", f"{worktree.branch}:work.txt") == "work"
    assert run_git(fake, "log", "--format=%s") == "First"


async def test_a_repository_in_place_of_the_git_file_leads_nowhere_and_runs_nothing(
    worktree: Worktree, person: Path, trap: Path, tmp_path: Path
) -> None:
    (worktree.path / ".git").unlink()
    run_git(worktree.path, "init", "-q")
    append(worktree.path / ".git/config", EVERYTHING_THAT_RUNS.format(evil=trap, hooks=tmp_path / "hooks"))
    write(worktree.path, _dot_gitattributes="* filter=evil diff=evil\n", work_dot_txt="work")
    assert "+work" in await use_all(worktree, person)
    assert not (tmp_path / "it-ran").exists()


async def test_repositories_inside_run_nothing(worktree: Worktree, person: Path, trap: Path, tmp_path: Path) -> None:
    nested = make_repository(worktree.path / "nested", _dot_gitattributes="* filter=evil diff=evil\n", x_dot_txt="x")
    append(nested / ".git/config", EVERYTHING_THAT_RUNS.format(evil=trap, hooks=tmp_path / "hooks"))
    run_git(worktree.path, "-c", "core.fsmonitor=false", "add", "nested")
    write(worktree.path, _dot_gitmodules='[submodule "nested"]\n\tpath = nested\n\turl = ext::evil\n')
    write(nested, x_dot_txt="changed")
    await use_all(worktree, person)
    await remove(worktree, merged_or_salvaged=True)
    assert not (tmp_path / "it-ran").exists()


async def test_hooks_and_monitors_in_the_repository_s_configuration_are_not_run(
    worktree: Worktree, person: Path, trap: Path, tmp_path: Path
) -> None:
    text = EVERYTHING_THAT_RUNS.replace('[filter "evil"]', '[unused "evil"]')  # filters there are the person's
    append(person / ".git/config", text.format(evil=trap, hooks=tmp_path / "hooks"))
    write(worktree.path, _dot_gitattributes="* diff=evil\n", work_dot_txt="work")
    await salvage(worktree, "r1")
    await commit_all(worktree, "m")
    assert "+work" in await diff(worktree.repo, worktree.base_commit, await head(worktree), max_bytes=100_000)
    assert not (tmp_path / "it-ran").exists()


async def test_a_link_to_the_person_s_checkout_in_place_of_the_worktree_is_refused(
    worktree: Worktree, person: Path
) -> None:
    before = fingerprint(person)
    shutil.rmtree(worktree.path)
    worktree.path.symlink_to(person)
    with pytest.raises(GitError, match="is gone"):
        await commit_all(worktree, "m")
    await remove(worktree, merged_or_salvaged=True)
    assert fingerprint(person) == before


async def test_names_with_newlines_quotes_and_bytes_that_are_no_text_are_kept(worktree: Worktree, person: Path) -> None:
    for name in (b"new\nline", b'quo"te\ttab', b"-dash", b":(exclude)colon", b"\xff\xfe", b"*", b" "):
        (Path(bytes(worktree.path).decode()) / name.decode("utf-8", "surrogateescape")).write_text("x")
    made = await commit_all(worktree, "m")
    stat = await diff_stat(worktree, worktree.base_commit, made or "")
    assert stat.files_changed == 7
    for file in stat.files:
        file.path.encode("utf-8")
    (await diff(worktree, worktree.base_commit, made or "", max_bytes=10_000)).encode("utf-8")


async def test_special_files_do_not_stop_a_snapshot(worktree: Worktree) -> None:
    os.mkfifo(worktree.path / "pipe")
    (worktree.path / "loop").symlink_to("loop")
    write(worktree.path, work_dot_txt="work")
    assert await salvage(worktree, "r1")
    assert await commit_all(worktree, "m")


async def test_a_forged_record_inside_the_worktree_means_nothing(
    worktree: Worktree, tmp_path: Path, trap: Path
) -> None:
    root = worktree.path.parent.parent
    forged = make_repository(root / "project" / "forged")
    append(forged / ".git/config", EVERYTHING_THAT_RUNS.format(evil=trap, hooks=tmp_path / "hooks"))
    (found,) = await leftovers(root, {worktree.path})
    assert (found.branch, found.unmerged, found.salvaged) == (None, True, False)
    with pytest.raises(QuarterdeckError, match="belongs to no repository that is known"):
        await clean(found)
    assert forged.exists()
    assert not (tmp_path / "it-ran").exists()
