"""Patterns in merged changes: a new file that is made like its neighbours is how such a file is made there.

What stays the same is the template; the name of the thing, in whatever case it is written, is its placeholder.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

NEIGHBOURS = 2
"""Files of the kind that a folder must hold besides, before one is a pattern."""
LONGEST = 12_000
"""Characters of a file that is taken for one."""
_CODE = frozenset(
    re.findall(r"\w+", "c cc cpp cs ex go h java js jsx kt php py rb rs scala sql svelte swift ts tsx vue")
)
_SKIPPED = re.compile(r"(^|/)(\.|node_modules/|vendor/|dist/|build/|migrations?/|__init__\.|index\.)")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pattern that could be: ``slug`` names the folder and kind of file, so that each is proposed once."""

    slug: str
    title: str
    category: str
    description: str
    template: str
    example: str


def proposals(added: Mapping[str, str], tree: Sequence[str], source: str) -> list[Proposal]:
    """Patterns in the files that a change added (path → text), of a repository that holds ``tree``; one per folder."""
    beside = Counter(_kind(path) for path in tree if path not in added)
    found: dict[str, Proposal] = {}
    for path, text in sorted(added.items()):
        place = PurePosixPath(path)
        if place.suffix.lstrip(".") not in _CODE or _SKIPPED.search(path) or not 80 <= len(text) <= LONGEST:
            continue
        if beside[_kind(path)] < NEIGHBOURS:
            continue
        template, times = _templated(text, _words(place))
        if times < 2:
            continue  # nothing in it says what it is called, so it is no mould
        slug = re.sub(r"[^a-z0-9]+", "-", f"{place.parent}-{place.suffix}".lower()).strip("-")
        folder = str(place.parent)
        title = f"A {_noun(place)} in {folder}"
        description = f"How a file in `{folder}` is made; taken from `{path}` ({source})."
        found.setdefault(slug, Proposal(slug, title, _category(path), description, template, path))
    return list(found.values())


def _kind(path: str) -> tuple[str, str]:
    place = PurePosixPath(path)
    return str(place.parent), place.suffix


def _words(place: PurePosixPath) -> list[str]:
    """The name of a file in words, without what all of its kind have (test_, .spec, …)."""
    stem = place.name.split(".")[0]
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", stem)]
    return [word for word in words if word not in ("test", "tests", "spec")]


def _templated(text: str, words: Sequence[str]) -> tuple[str, int]:
    """The text with its name as a placeholder in each case that names are written in; how often it stood there."""
    if not words or len("".join(words)) < 3:
        return text, 0
    # one word has the same form in several cases: the first that is named wins
    forms: dict[str, str] = {}
    for form, placeholder in (
        ("".join(word.capitalize() for word in words), "{{Name}}"),
        ("_".join(words), "{{name}}"),
        ("-".join(words), "{{kebab-name}}"),
        ("_".join(words).upper(), "{{NAME}}"),
        (words[0] + "".join(word.capitalize() for word in words[1:]), "{{camelName}}"),
        (" ".join(words), "{{words}}"),
    ):
        forms.setdefault(form, placeholder)
    body = re.sub(r"\{\{", "{ {", text)
    times = 0
    for form, placeholder in sorted(forms.items(), key=lambda item: -len(item[0])):
        body, count = re.subn(rf"(?<![A-Za-z0-9{{]){re.escape(form)}(?![a-z0-9}}])", placeholder, body)
        times += count
    return body, times


def _noun(place: PurePosixPath) -> str:
    return {".sql": "query", ".vue": "component", ".svelte": "component", ".tsx": "component", ".jsx": "component"}.get(
        place.suffix, "test" if "test" in place.name.lower() else "module"
    )


def _category(path: str) -> str:
    lowered = path.lower()
    for word, category in (
        ("component", "component"), ("/api", "api"), ("route", "api"), ("endpoint", "api"), ("sql", "database"),
        ("model", "database"), ("schema", "database"), ("workflow", "workflow"), ("test", "test"),
    ):  # fmt: skip
        if word in lowered:
            return category
    return "general"
