"""What an agent program finds in its environment: what the engine gives, and never what happens to be in
the person's.
"""

from collections.abc import Mapping

from core.agents.adapter import Job

PASSED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "TERM",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }
)
"""What is handed on; besides it everything that begins with ``LC_``.

Keys, tokens and PYTHONPATH are not among it.
"""


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that any program needs and that holds no secret."""
    return {name: value for name, value in environ.items() if name in PASSED or name.startswith("LC_")}


def job_environment(job: Job) -> dict[str, str]:
    """The variables that tell an agent process who and where it is."""
    return {
        "QD_RUN_ID": job.run_id,
        "QD_TASK_NUMBER": str(job.task_number),
        "QD_TASK_TITLE": job.title.replace("\0", ""),
        "QD_PROJECT": job.project,
        "QD_ATTEMPT": str(job.attempt),
        "QD_PROMPT_FILE": str(job.prompt_file),
        "QD_CONTEXT_FILE": str(job.context_file),
        "QD_WORKTREE": str(job.worktree),
        "QD_BRANCH": job.branch,
        "QD_BASE_COMMIT": job.base_commit,
    }
