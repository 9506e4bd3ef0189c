"""Questions whose answers are known, from real public code: source packages at fixed versions.

Three tasks. *docstring*: the first paragraph of a docstring asks for its function, from which the docstring was taken out. *masked*: the
same, with the function's own name taken out of it as well. *subject*: an entry of a package's change log asks for the one function that
it names, with that name taken out of the entry.
"""

import ast
import os
import re
import tarfile
import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.knowledge.packages import File, fetch, index_of

PACKAGES = (
    File("aiohttp", "aiohttp-3.12.15.tar.gz", "4fc61385e9c98d72fcdf47e6dd81833f47b2f77c114c29cd64a361be57a763a2"),
    File("celery", "celery-5.5.3.tar.gz", "6c972ae7968c2b5281227f01c3a3f984037d21c5129d07bf3550cc2afc6b10a5"),
    File("networkx", "networkx-3.5.tar.gz", "d4c6f9cf81f52d69230866796b82afbccdec3db7ae4fbd1b65ea750feed50037"),
    File("pytest", "pytest-8.4.2.tar.gz", "86c0d0b93306b961d58d62a4db4879f27fe25513d4b969df351abdddb3c30e01"),
)
MASK = "masked"
_LOG = re.compile(r"(?i)(^|/)(changes|changelog|changelog-\d[\d.]*|release_\d[\d.]*|api_\d[\d.]*)\.rst$")
_ENTRY = re.compile(r"^(?:[-*]|\d+\.)\s+(.+?)(?=\n\s*\n|\n[-*]\s|\Z)", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r":?(?:\w+:)*`+~?\.?([^`]+)`+")
_SHORTEST_ASK = 20


@dataclass(frozen=True, slots=True)
class Function:
    """A function without its docstring."""

    name: str
    path: str
    code: str
    asked: str

    @property
    def title(self) -> str:
        """As the index calls it."""
        return f"{self.name} ({Path(self.path).name})"

    @property
    def masked(self) -> tuple[str, str]:
        """Title and code without the function's own name."""
        own = re.compile(rf"\b{re.escape(self.name)}\b")
        return f"{MASK} ({Path(self.path).name})", own.sub(MASK, self.code)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the number of the function that answers it. ``held_out``: it was not used to set any weight."""

    text: str
    answer: int

    @property
    def held_out(self) -> bool:
        """Every other question, by its text."""
        return zlib.crc32(self.text.encode()) % 2 == 1


def cache(environ: Mapping[str, str]) -> Path:
    """Where the packages are kept between runs."""
    if home := environ.get("QD_HOME"):
        return Path(home) / "cache" / "bench"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarterdeck" / "bench"


def load(environ: Mapping[str, str] = os.environ) -> tuple[list[Function], dict[str, list[Question]]]:
    """Functions and the questions of each task. Raises UnavailableError where a package is neither kept nor to be had."""
    functions: list[Function] = []
    logs: list[str] = []
    for package in PACKAGES:
        path = fetch(package, cache(environ), index_of(environ))
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda one: one.name):
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                if member.name.endswith(".py") and not re.search(
                    r"(^|/)(tests?|testing|t|examples?|docs?)/", member.name
                ):
                    functions += _functions(member.name, file.read().decode("utf-8", "replace"))
                elif _LOG.search(member.name):
                    logs.append(file.read().decode("utf-8", "replace"))
    asked = [Question(function.asked, number) for number, function in enumerate(functions)]
    subjects = list(_subjects(functions, logs))
    return functions, {"docstring": asked, "masked": asked, "subject": subjects}


def _functions(path: str, text: str) -> Iterator[Function]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    lines = text.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (doc := ast.get_docstring(node)):
            asked = " ".join(doc.split("\n\n", 1)[0].split())
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
            held = node.body[0]
            code = [*lines[first : held.lineno - 1], *lines[held.end_lineno or held.lineno : node.end_lineno]]
            if len(asked) >= _SHORTEST_ASK and len(node.body) > 1:
                yield Function(node.name, path, textwrap.dedent("\n".join(code))[:4000], asked[:400])


def _subjects(functions: list[Function], logs: list[str]) -> Iterator[Question]:
    counts = Counter(function.name for function in functions)
    only = {function.name: number for number, function in enumerate(functions) if counts[function.name] == 1}
    seen = set()
    for log in logs:
        for entry in _ENTRY.findall(log):
            text = re.sub(r"\[?\(?`?#?\d*\s*<https?:[^>]*>`?_*\)?\]?:?", "", " ".join(entry.split()))
            named = {_last(name) for name in _QUOTED.findall(text)} & set(only)
            if len(named) != 1:
                continue
            [name] = named
            subject = _without(text, name)
            if len(subject) >= _SHORTEST_ASK and subject.count(" ") >= 3 and subject not in seen:
                seen.add(subject)
                yield Question(subject, only[name])


def _without(text: str, name: str) -> str:
    """The first sentence of an entry, markup and the name taken out, at most as long as a subject is."""
    plain = _QUOTED.sub(lambda match: "" if _last(match[1]) == name else match[1], text)
    first = re.split(r"(?<=[.:])\s", plain.strip(), maxsplit=1)[0]
    return " ".join(re.sub(rf"\b{re.escape(name)}\b|#\d+|\(\s*\)", "", first).split())[:160]


def _last(name: str) -> str:
    """The last part of a dotted name, without what it is called with."""
    return re.sub(r"\(.*", "", name.split("<", maxsplit=1)[0]).strip().rsplit(".", 1)[-1]
