"""What must never become knowledge: keys, passwords, private files. It is left out before anything is stored."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

LEFT_OUT = "[secret left out]"

_FILES = re.compile(
    r"(^|/)(\.env(\..+)?|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.htpasswd|id_(rsa|dsa|ecdsa|ed25519)|credentials(\.json|\.csv)?"
    r"|secrets?\.(json|ya?ml|toml|ini|env)|service[-_]?account.*\.json|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ovpn|asc|gpg))$",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"\.(example|sample|template|dist)$", re.IGNORECASE)

_VALUES: Sequence[tuple[tuple[str, ...], re.Pattern[str]]] = (
    (
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    (("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
        re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_[A-Za-z0-9_]{40,}\b|\bglpat-[\w-]{20,}"),
    ),
    (("sk-",), re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}")),
    (("xox",), re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}")),
    (("AIza",), re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    (("k_live_", "k_test_"), re.compile(r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,}\b")),
    (("SG.",), re.compile(r"\bSG\.[\w-]{16,}\.[\w-]{16,}")),
    (("npm_", "pypi-"), re.compile(r"\bnpm_[A-Za-z0-9]{30,}\b|\bpypi-[A-Za-z0-9_-]{40,}")),
    (("eyJ",), re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    (("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    (("_v1_",), re.compile(r"\bdo[opr]_v1_[0-9a-f]{64}\b")),
    ((":AA",), re.compile(r"\b\d{8,10}:AA[\w-]{30,}")),
    (("AccountKey=", "SharedAccessKey="), re.compile(r"(?<=Key=)[A-Za-z0-9+/]{40,}={0,2}")),
    (("://",), re.compile(r"(?<=://)[^\s/:@'\"<>{}$]+:[^\s/@'\"<>{}$]{3,}(?=@)")),
)
"""What a secret looks like, each with words of which it holds one: most texts hold none, and are done with at once."""
_QUOTED = re.compile(r"""([:=]\s*["'])(?=[^"'\s]*\d)([^"'\s{}$<>]{12,})(?=["'])""")
_NAMED = re.compile(
    r"""(?:password|passwd|secret(?:[_-]?(?:access[_-]?)?key)?|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret)["']?\s*\Z""",
    re.IGNORECASE,
)
_LONGEST_NAME = 40


def is_secret_file(path: str) -> bool:
    """Whether a file by its name is one that holds secrets; an example of one is not."""
    return bool(_FILES.search(path)) and not _HARMLESS.search(PurePosixPath(path).name)


def redact(text: str) -> str:
    """The text with everything that looks like a key, a token or a password replaced."""
    for words, pattern in _VALUES:
        if any(word in text for word in words):
            text = pattern.sub(LEFT_OUT, text)
    return _QUOTED.sub(_unless_harmless, text)


def _unless_harmless(found: re.Match[str]) -> str:
    """A quoted value that is assigned: left out where the name before it is one of a secret."""
    before = found.string[max(0, found.start() - _LONGEST_NAME) : found.start()]
    return found[1] + LEFT_OUT if _NAMED.search(before) else found[0]
