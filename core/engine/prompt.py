"""What the agent of a run is told, and the environment in which its program runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from storage.queries.engine import Work

PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "IS_SANDBOX", "JAVA_HOME", "GOPATH", "CARGO_HOME", "RUSTUP_HOME", "PYENV_ROOT", "NVM_DIR",
)  # fmt: skip
"""All that agents and gates inherit from the engine's environment: nothing in this list is ever a key."""


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What every program that we start for a project may know of this machine."""
    kept = {name: environ[name] for name in PASSED_ON if name in environ}
    return kept | {"TERM": "dumb", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def run_environment(
    environ: Mapping[str, str], work: Work, *, run_id: str, attempt: int, worktree: Path, branch: str, base_commit: str
) -> dict[str, str]:
    """The part of an agent's environment that names its run; the gates get the same."""
    return base_environment(environ) | {
        "QD_RUN_ID": run_id,
        "QD_TASK_ID": str(work.id),
        "QD_TASK_NUMBER": str(work.number),
        "QD_TASK_TITLE": work.title.replace("\0", ""),
        "QD_PROJECT": work.project,
        "QD_ATTEMPT": str(attempt),
        "QD_WORKTREE": str(worktree),
        "QD_BRANCH": branch,
        "QD_BASE_COMMIT": base_commit,
    }


def compose_prompt(work: Work, *, branch: str, verify: Sequence[str], context: str = "") -> str:
    """The full prompt, Markdown."""
    parts = [f"# Task #{work.number}: {work.title}"]
    if work.description.strip():
        parts.append(work.description.strip())
    if work.feedback:
        parts.append(f"## What came of the previous attempt\n\n{work.feedback.strip()}")
    if context:
        parts.append(context)
    rules = [
        f"You work on the project `{work.project}` in a git worktree of your own, the current directory, on the branch "
        f"`{branch}`. Change nothing outside it.",
        "Commit if you like; what you leave uncommitted is committed for you. Do not push, and do not switch branches.",
        "When something is unclear and the answer matters, ask the supervisor instead of guessing.",
    ]
    if verify:
        commands = "\n".join(f"  - `{command}`" for command in verify)
        rules.append(f"The work counts as done when these commands pass in the worktree:\n{commands}")
    parts.append("## How to work\n\n" + "\n".join(f"- {rule}" for rule in rules))
    return "\n\n".join(parts) + "\n"
