"""The structured kinds: what of a pattern, a decision or a lesson is searched and told, and when two errors are one."""

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from config.errors import UsageError
from core.knowledge.noise import lines_that_say_something, tells

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")
_NORMAL: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"0x[0-9a-fA-F]+"), "<address>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b", re.IGNORECASE), "<hash>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\w.~-]*/)+([\w.-]+)"), r"\1"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:[nuµm]?s|secs?|mins?|[mh]|[kmgt]?i?b)\b", re.IGNORECASE), "<amount>"),
    (re.compile(r"\b\d+(?:\.\d+)?\b"), "<n>"),
)
_TYPES: Sequence[tuple[str, re.Pattern[str]]] = (
    (
        "typecheck",
        re.compile(r"\b(mypy|pyright|tsc|typecheck|type-check)\b|error TS\d+|\[[a-z]+-[a-z-]+\]$", re.MULTILINE),
    ),
    ("lint", re.compile(r"\b(ruff|eslint|flake8|pylint|clippy|golangci|stylelint|prettier|black|lint|format)\b")),
    ("test", re.compile(r"\b(pytest|unittest|jest|vitest|mocha|go test|cargo test|rspec|tests?)\b|\bAssertionError\b")),
    ("build", re.compile(r"\b(make|webpack|vite|gradle|maven|cargo build|go build|npm run build|tsup|compile)\b")),
    ("runtime", re.compile(r"Traceback|Exception|panic:|Segmentation fault")),
)


def placeholders(template: str) -> tuple[str, ...]:
    """The names between ``{{`` and ``}}``, in their order."""
    return tuple(dict.fromkeys(match[1] for match in _PLACEHOLDER.finditer(template)))


def mould(template: str) -> str:
    """A template without what its placeholders are called and how it is spaced: two with the same mould make the same."""
    names: dict[str, int] = {}
    numbered = _PLACEHOLDER.sub(lambda match: f"{{{{{names.setdefault(match[1], len(names) + 1)}}}}}", template)
    return " ".join(numbered.split())


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders filled; values are put in as they are, never looked into.

    Raises UsageError for placeholders without a value, and for values that nothing asks for.
    """
    wanted = placeholders(template)
    if missing := [name for name in wanted if name not in values]:
        raise UsageError(
            f"no value for {', '.join(missing)}", f"add {' '.join(f'--set {name}=VALUE' for name in missing)}"
        )
    if unknown := [name for name in values if name not in wanted]:
        raise UsageError(f"the template has no placeholder {unknown[0]}", f"it has {', '.join(wanted) or 'none'}")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def pattern_text(description: str, template: str, example: str | None) -> str:
    """What of a pattern is searched and told."""
    parts = [description.strip(), f"```\n{template.strip()}\n```"]
    if example:
        parts.append(f"Example:\n```\n{example.strip()}\n```")
    return "\n\n".join(part for part in parts if part)


def decision_text(columns: Mapping[str, object]) -> str:
    """What of a decision is searched and told."""
    alternatives = columns.get("alternatives") or ()
    assert isinstance(alternatives, list | tuple)
    lines = [
        f"Question: {columns['question']}",
        f"Chosen: {columns['chosen']}",
        f"Instead of: {'; '.join(map(str, alternatives))}" if alternatives else "",
        f"Because: {columns['reasoning']}" if columns.get("reasoning") else "",
        f"Outcome: {columns['outcome']}" if columns.get("outcome") else "",
        f"{columns['outcome_note']}" if columns.get("outcome_note") else "",
        f"Lesson: {columns['lesson']}" if columns.get("lesson") else "",
        "" if columns.get("repeat", True) else "Do not decide it so again.",
    ]
    return "\n".join(line for line in lines if line)


def lesson_text(columns: Mapping[str, object]) -> str:
    """What of a lesson is searched and told."""
    lines = [
        f"Rule: {columns['rule']}" if columns.get("rule") else "",
        f"Error: {columns['error']}",
        f"When: {columns['context']}" if columns.get("context") else "",
        f"{'Fix' if columns.get('worked') else 'Tried'}: {columns['fix']}" if columns.get("fix") else "",
    ]
    return "\n".join(line for line in lines if line)


def text_of(kind: str, columns: Mapping[str, object]) -> str:
    """What of a structured item is searched and told."""
    if kind == "pattern":
        example = columns.get("example")
        return pattern_text(str(columns["description"]), str(columns["template"]), str(example) if example else None)
    return decision_text(columns) if kind == "decision" else lesson_text(columns)


def telling_lines(output: str, *, most: int = 6, width: int = 300) -> str:
    """The lines of a failed check's output that say what is wrong: the first that name an error, else the last ones; empty
    where none says anything.
    """
    lines = lines_that_say_something(output, width)
    telling = [line for line in lines if tells(line)]
    return "\n".join(dict.fromkeys(line.strip() for line in (telling or lines[-most:])[:most]))


def normalise(message: str) -> str:
    """A message without what differs each time: addresses, ids, times, folders, numbers, spaces."""
    for pattern, instead in _NORMAL:
        message = pattern.sub(instead, message)
    return " ".join(message.split()).lower()[:2000]


def signature(kind: str, message: str) -> UUID:
    """By which two sightings of the same trouble are known to be one: 128 bits of the normalised message and its
    type.
    """
    from hashlib import sha256

    return UUID(bytes=sha256(f"{kind}\n{normalise(message)}".encode()).digest()[:16])


def error_type(command: str, output: str) -> str:
    """What kind of trouble a failed check tells of: by the command first, then by what it printed."""
    for text in (command, output[-4000:]):
        for name, pattern in _TYPES:
            if pattern.search(text):
                return name
    return "other"
