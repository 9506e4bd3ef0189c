"""Rule files that repositories carry for agents, read from the base commit, never as an agent may have rewritten them.

Precedence, the first holds where two contradict, is told first, and is told alone where two say the same: files in the folders that the
task is about, the innermost first, before those at the root; there `AGENTS.md`, `CLAUDE.md`, `.claude/CLAUDE.md`, `GEMINI.md`, `.clinerules`,
`.cursorrules`, `.cursor/rules`, `.github/copilot-instructions.md`, `memory-bank`; within a folder by name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.knowledge.reading import list_files, prose_of, read_blobs
from core.knowledge.secrets import redact
from core.workspace.repository import Repository

MOST_BYTES = 60_000
"""Of one file."""
MOST_FILES = 40
_ROOT = (
    "AGENTS.md", "CLAUDE.md", ".claude/CLAUDE.md", "GEMINI.md", ".clinerules", ".cursorrules", ".cursor/rules",
    ".github/copilot-instructions.md", "memory-bank",
)  # fmt: skip
_NEAR = ("AGENTS.md", "CLAUDE.md")
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file of a repository."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A rule file that is told to nobody, and why."""

    path: str
    reason: str


async def rule_files(repo: Repository, commit: str, paths: Sequence[str]) -> tuple[list[RuleFile], list[Unread]]:
    """The rules that hold for work on ``paths`` (globs; may be empty), the most specific first, each text once; and what could not be
    read of them.
    """
    folders = _folders(paths)
    names = [f"{folder}/{name}" for folder in folders for name in _NEAR] + list(_ROOT)
    entries = [
        entry
        for entry in await list_files(repo, commit, names)
        if entry.mode.startswith("100") and entry.size > 0 and _is_rule(entry.path)
    ]
    entries.sort(key=lambda entry: (_rank(entry.path, names), entry.path))
    files: list[RuleFile] = []
    unread = [
        Unread(entry.path, f"{entry.size:,} bytes, of at most {MOST_BYTES:,}")
        for entry in entries[:MOST_FILES]
        if entry.size > MOST_BYTES
    ]
    if len(entries) > MOST_FILES:
        more = f"{len(entries) - MOST_FILES} files beyond the {MOST_FILES} that are read"
        unread.append(Unread(entries[MOST_FILES].path, more))
    seen = set()
    async for batch in read_blobs(repo, [entry for entry in entries[:MOST_FILES] if entry.size <= MOST_BYTES]):
        for entry, data in batch:
            text, reason = prose_of(data)
            if reason is not None:
                unread.append(Unread(entry.path, reason))
            body = redact(_applying(text, entry.path, paths), entry.path)
            if reason is None and body and body not in seen:
                seen.add(body)
                files.append(RuleFile(entry.path, body))
    return files, unread


def _folders(paths: Sequence[str]) -> list[str]:
    """The folders around the paths of a task, the innermost first."""
    folders: list[str] = []
    for path in paths:
        fixed = re.split(r"[*?\[]", path, maxsplit=1)[0].strip("/")
        if ".." in PurePosixPath(fixed).parts:
            continue
        around = PurePosixPath(fixed if path.endswith("/") or "*" in path else str(PurePosixPath(fixed).parent))
        folders += [str(folder) for folder in (around, *around.parents) if str(folder) != "."]
    return sorted(dict.fromkeys(folders), key=lambda folder: -folder.count("/"))[:20]


def _is_rule(path: str) -> bool:
    return PurePosixPath(path).suffix in (".md", ".mdc", ".txt", "") or path.endswith((".clinerules", ".cursorrules"))


def _rank(path: str, names: Sequence[str]) -> int:
    return next((at for at, name in enumerate(names) if path == name or path.startswith(f"{name}/")), len(names))


def _applying(text: str, path: str, paths: Sequence[str]) -> str:
    """The body of a rule file; of a Cursor rule that names globs only where one fits the task."""
    front = _FRONT.match(text)
    if front is None or not path.startswith(".cursor/"):
        return text.strip()
    head, body = front[1], text[front.end() :].strip()
    if re.search(r"^alwaysApply:\s*true", head, re.MULTILINE):
        return body
    globs = re.search(r"^globs:[ \t]*(.*(?:\n[ \t]*-.*)*)", head, re.MULTILINE)
    if globs is None:
        return ""
    wanted = [glob.strip(" \t-\"'[]") for glob in re.split(r"[,\n]", globs[1])]
    fits = any(PurePosixPath(one).match(glob.replace("**/", "")) for glob in wanted if glob for one in paths)
    return body if fits else ""
