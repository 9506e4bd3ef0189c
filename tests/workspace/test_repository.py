"""Repositories are found, cloned, fetched and described, whatever state the person left them in."""

import os
from pathlib import Path

import pytest
from workspace_kit import commit, fingerprint, make_remote, make_repository, run_git, write

from config.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from core.workspace.repository import (
    base_commit,
    base_target,
    clone,
    default_base,
    fetch,
    open_repository,
    resolve_repo_argument,
    status,
)


async def test_a_folder_without_repository_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="no git repository") as caught:
        await open_repository(tmp_path / "plain")
    assert "git init" in caught.value.hint
    with pytest.raises(UsageError, match="there is no folder"):
        await open_repository(tmp_path / "absent")


async def test_a_repository_without_a_commit_is_refused_with_the_remedy(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "empty")
    with pytest.raises(UsageError, match="has no commit yet") as caught:
        await open_repository(tmp_path / "empty")
    assert "git commit" in caught.value.hint


async def test_a_folder_inside_a_repository_is_refused_naming_the_repository(person: Path) -> None:
    (person / "sub").mkdir()
    with pytest.raises(UsageError, match="inside the repository") as caught:
        await open_repository(person / "sub")
    assert str(person) in caught.value.hint


async def test_linked_worktrees_bare_repositories_and_git_folders_are_opened(person: Path, tmp_path: Path) -> None:
    run_git(person, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    run_git(tmp_path, "clone", "--quiet", "--bare", str(person), "bare.git")
    linked, bare = await open_repository(tmp_path / "side"), await open_repository(tmp_path / "bare.git")
    assert (linked.path, linked.git_dir) == (tmp_path / "side", person / ".git")
    assert bare.path == bare.git_dir == tmp_path / "bare.git"
    assert (await open_repository(person / ".git")).path == person


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("acme/rocket", "https://github.com/acme/rocket.git"),
        ("acme/rocket.git", "https://github.com/acme/rocket.git"),
        ("https://x.org/r.git", "https://x.org/r.git"),
        ("git@github.com:acme/rocket.git", "git@github.com:acme/rocket.git"),
        ("ssh://git@host/r", "ssh://git@host/r"),
        ("/srv/code", Path("/srv/code")),
    ],
)
def test_what_a_person_means_by_a_repository(text: str, meant: str | Path) -> None:
    assert resolve_repo_argument(text) == meant


def test_a_folder_that_is_there_wins_over_github(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(person.parent.parent)
    (person.parent.parent / "acme" / "rocket").mkdir(parents=True)
    assert resolve_repo_argument("acme/rocket") == person.parent.parent / "acme" / "rocket"


@pytest.mark.parametrize("text", ["", "--upload-pack=evil", "ext::sh -c evil", "data://x", "a\nb"])
def test_addresses_that_could_run_something_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        resolve_repo_argument(text)


async def test_a_clone_is_whole_or_not_there(person: Path, tmp_path: Path) -> None:
    repo = await clone(str(person), tmp_path / "state" / "clone")
    assert (repo.path / "a.txt").exists()
    assert await default_base(repo) == "main"
    with pytest.raises(ConflictError, match="exists already"):
        await clone(str(person), tmp_path / "state" / "clone")
    with pytest.raises(UnavailableError, match="could not be cloned"):
        await clone(str(tmp_path / "absent"), tmp_path / "state" / "other")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["clone"]


async def test_the_default_base_is_the_remote_s_then_the_usual_names_then_the_current_branch(
    tmp_path: Path, home: Path
) -> None:
    _, mine = make_remote(tmp_path / "r")
    run_git(mine, "checkout", "--quiet", "-b", "feature")
    assert await default_base(await open_repository(mine)) == "main"

    local = make_repository(tmp_path / "local")
    run_git(local, "branch", "--quiet", "-m", "trunk")
    assert await default_base(await open_repository(local)) == "trunk"
    run_git(local, "branch", "master")
    assert await default_base(await open_repository(local)) == "master"
    (home / ".gitconfig").write_text("[init]\n\tdefaultBranch = trunk\n")
    assert await default_base(await open_repository(local)) == "trunk"


async def test_the_default_base_is_right_in_the_middle_of_a_rebase(tmp_path: Path) -> None:
    local = make_repository(tmp_path / "local")
    run_git(local, "branch", "--quiet", "-m", "trunk")
    leave_mid_rebase(local, "trunk")
    assert await default_base(await open_repository(local)) == "trunk"


async def test_work_starts_from_the_fetched_base_and_the_person_s_refs_stay(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    newer = advance(tmp_path, origin)
    repo = await open_repository(mine)
    before = fingerprint(mine)
    await fetch(repo, if_older_than=60)
    assert await base_commit(repo, "main") == newer
    assert fingerprint(mine) == before


async def test_fetches_are_throttled_and_can_be_for_one_branch(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    repo = await open_repository(mine)
    await fetch(repo, if_older_than=60, base="main")
    first = advance(tmp_path, origin)
    await fetch(repo, if_older_than=60, base="main")
    assert await base_commit(repo, "main") != first
    await fetch(repo, if_older_than=0, base="main")
    assert await base_commit(repo, "main") == first
    await fetch(repo, if_older_than=0, base="not-there")


async def test_a_push_of_the_person_since_the_last_fetch_counts(tmp_path: Path) -> None:
    _, mine = make_remote(tmp_path)
    repo = await open_repository(mine)
    await fetch(repo, if_older_than=0)
    mine_now = commit(mine, "by hand", c_dot_txt="c")
    assert await base_commit(repo, "main") != mine_now
    run_git(mine, "push", "--quiet")
    assert await base_commit(repo, "main") == mine_now


async def test_an_unreachable_remote_is_unavailable(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    origin.rename(tmp_path / "away.git")
    repo = await open_repository(mine)
    with pytest.raises(UnavailableError, match="remote origin could not be fetched"):
        await fetch(repo, if_older_than=0)
    assert await base_commit(repo, "main")


async def test_a_local_branch_is_the_base_where_no_remote_has_it(tmp_path: Path) -> None:
    _, mine = make_remote(tmp_path)
    run_git(mine, "branch", "private")
    target = await base_target(await open_repository(mine), "private")
    assert (target.remote, target.commit) == (None, run_git(mine, "rev-parse", "private"))


async def test_a_remote_that_was_taken_out_counts_no_more(tmp_path: Path) -> None:
    _, mine = make_remote(tmp_path)
    repo = await open_repository(mine)
    await fetch(repo, if_older_than=0)
    run_git(mine, "remote", "remove", "origin")
    assert (await base_target(repo, "main")).remote is None


async def test_a_relative_address_of_a_remote_is_seen_from_the_checkout(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    run_git(mine, "remote", "set-url", "origin", "../origin.git")
    newer = advance(tmp_path, origin)
    repo = await open_repository(mine)
    await fetch(repo, if_older_than=0)
    assert await base_commit(repo, "main") == newer


async def test_a_shallow_repository_can_be_fetched_and_stays_shallow(tmp_path: Path) -> None:
    origin, _ = make_remote(tmp_path)
    advance(tmp_path, origin)
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", "shallow")
    newest = advance(tmp_path, origin)
    repo = await open_repository(tmp_path / "shallow")
    await fetch(repo, if_older_than=0)
    assert await base_commit(repo, "main") == newest
    assert run_git(repo.path, "rev-parse", "--is-shallow-repository") == "true"


async def test_a_base_that_does_not_exist_is_not_found(person: Path) -> None:
    repo = await open_repository(person)
    with pytest.raises(NotFoundError, match="has no branch nowhere"):
        await base_commit(repo, "nowhere")
    with pytest.raises(UsageError):
        await base_commit(repo, "--all")


async def test_the_status_counts_and_writes_nothing(tmp_path: Path) -> None:
    _, mine = make_remote(tmp_path)
    run_git(mine, "remote", "add", "other", "https://pat:s3cret@host/x.git")
    commit(mine, "ahead")
    write(mine, a_dot_txt="changed", new_dot_txt="n", staged_dot_txt="s")
    run_git(mine, "add", "staged.txt")
    os.utime(mine / "b.txt", (1_000_000_000, 1_000_000_000))
    before = fingerprint(mine)
    shown = await status(await open_repository(mine))
    assert (shown.branch, shown.staged, shown.modified, shown.untracked, shown.conflicted) == ("main", 1, 1, 1, 0)
    assert (shown.ahead, shown.behind, shown.last_subject, shown.last_author) == (1, 0, "ahead", "Pat")
    assert shown.remotes["other"] == "https://***@host/x.git"
    assert fingerprint(mine) == before


async def test_the_status_of_a_bare_repository_and_of_a_detached_head(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    assert (await status(await open_repository(origin))).branch == "main"
    run_git(mine, "checkout", "--quiet", "--detach")
    assert (await status(await open_repository(mine))).branch is None


def advance(tmp_path: Path, origin: Path) -> str:
    """Somebody else pushes a commit to the remote's main."""
    other = tmp_path / "other"
    if not other.exists():
        run_git(tmp_path, "clone", "--quiet", str(origin), "other")
    made = commit(other, "by another", **{f"f{len(list(other.iterdir()))}": "x"})
    run_git(other, "push", "--quiet")
    return made


def leave_mid_rebase(checkout: Path, branch: str) -> None:
    """Leave a checkout in the middle of a rebase of a branch that conflicts."""
    run_git(checkout, "checkout", "--quiet", "-b", "upstream-side")
    commit(checkout, "theirs", a_dot_txt="theirs\n")
    run_git(checkout, "checkout", "--quiet", branch)
    commit(checkout, "ours", a_dot_txt="ours\n")
    run_git(checkout, "rebase", "upstream-side", check=False)
    assert (Path(run_git(checkout, "rev-parse", "--absolute-git-dir")) / "rebase-merge").exists()
