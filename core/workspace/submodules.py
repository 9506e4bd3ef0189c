"""Submodules of a new worktree."""

from core.workspace.checkout import Worktree, place
from core.workspace.git import GitError, git, ssh_environment


async def update_submodules(worktree: Worktree, *, seconds: float = 300.0) -> str | None:
    """Check out the submodules that the repository declares, before the agent starts.

    Returns None, or a note for the run's log on why they could not be had: many tasks need none of them.
    """
    declarations = worktree.path / ".gitmodules"
    if not declarations.is_file() or declarations.is_symlink():
        return None
    at = place(worktree)
    try:
        await git(
            "submodule", "--quiet", "update", "--init", "--recursive", "--no-recommend-shallow",
            at=at, environment=await ssh_environment(at), timeout=seconds,
        )  # fmt: skip
    except GitError as error:
        return f"the submodules could not be checked out: {error.message}"
    return None
