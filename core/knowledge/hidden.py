"""Text of repositories and agents is data. This finds what in it poses as an instruction, or is not to be seen.

What is found is shown to a person and kept out of the prompt; invisible characters and comments of markup are taken out
of the rest.
"""

import re
import unicodedata
from dataclasses import dataclass

_PHRASES = re.compile(
    r"(?:ignore|disregard|forget|override)\s+(?:(?:all|any|the|your|of|every)\s+)*(?:previous|prior|above|earlier|preceding|other)\s+"
    r"(?:instruction|prompt|rule|direction|message|context|guideline)"
    r"|(?:new|updated|real|actual|hidden|secret)\s+(?:system\s+)?(?:instructions?|prompt)\s*:"
    r"|\byou\s+are\s+now\s+(?:a|an|in|the)\b|<\s*/?\s*(?:system|assistant|im_start|im_end)\b|\[\s*/?\s*(?:INST|SYSTEM)\s*\]|<\|[a-z_]+\|>"
    r"|(?:do\s+not|don't|never)\s+(?:tell|inform|show|mention\s+(?:this\s+)?to|reveal\s+(?:this\s+)?to)\s+the\s+(?:user|human|supervisor|person)"
    r"|(?:exfiltrate|send|post|upload|leak)\s+(?:\w+\s+){0,4}(?:env(?:ironment)?\s+variables?|secrets?|credentials?|api\s+keys?|tokens?)\s+to\b"
    r"|\boverride\s+(?:your|the|all|any)\s+(?:\w+\s+)?(?:guidelines?|instructions?|rules?|safety)\b"
    r"|\bfrom\s+now\s+on,?\s+(?:you|always|only|respond|answer)\b|\bif\s+you(?:'re|\s+are)\s+an?\s+(?:AI|LLM|language\s+model|assistant)\b"
    r"|\b(?:note|message|instructions?)\s+(?:to|for)\s+(?:the\s+|any\s+)?(?:AI|LLM|language\s+model|assistant)s?\b[^.\n]{0,30}:"
    r"|(?:^|\n)\s*assistant\s*:\s+(?:sure|ok|okay|yes|certainly|I)\b"
    r"|\bAI\s+(?:agents?|assistants?|models?)\s+(?:must|should|reading\s+this)\b",
    re.IGNORECASE,
)  # fmt: skip
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")

_JOINTS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")

_ALIKE = str.maketrans("асеіјорѕухһԁԛԝАВЕКМНОРСТХІЈЅονρα", "aceijopsyxhdqwABEKMHOPCTXIJSovpa")
"""Cyrillic and Greek letters that look like Latin ones."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that would be taken for an instruction, or is not to be seen: where, what, and how it reads."""

    source: str
    what: str
    text: str


def look(text: str, source: str, *names: str) -> list[Finding]:
    """What a person should see of a text, and of its ``names``: title, path, whatever else is told with it."""
    findings = []
    for plain in (_plain(text), *map(_plain, names), *(_words_of(_plain(name)) for name in names)):
        if found := _PHRASES.search(plain):
            findings.append(Finding(source, "instruction", _around(plain, found.start(), found.end())))
            break
    text = "\n".join((text, *names))
    if len(_UNSEEN.findall(text)) > (1 if text.startswith("\ufeff") else 0):
        shown = _UNSEEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)
        at = shown.find("<U+")
        findings.append(Finding(source, "invisible characters", _around(shown, at, at + 8)))
    return findings


def visible(text: str) -> str:
    """The text without what a reader of it would not see."""
    return _COMMENT.sub("", _UNSEEN.sub("", text))


def _plain(text: str) -> str:
    """The text as a reader takes it in."""
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).translate(_ALIKE)


def _words_of(name: str) -> str:
    """A name as words: ignore_all-previousRules reads as it sounds."""
    return _JOINTS.sub(" ", name)


def _around(text: str, start: int, end: int, margin: int = 80) -> str:
    return " ".join(text[max(0, start - margin) : end + margin].split())
