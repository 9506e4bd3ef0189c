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

_VALUES: Sequence[re.Pattern[str]] = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_[A-Za-z0-9_]{40,}\b|\bglpat-[\w-]{20,}"),
    re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}"),
    re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    re.compile(r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,}\b"),
    re.compile(r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    re.compile(r"\bnpm_[A-Za-z0-9]{30,}\b|\bpypi-[A-Za-z0-9_-]{40,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    re.compile(r"(?<=://)[^\s/:@'\"<>{}$]+:[^\s/@'\"<>{}$]{3,}(?=@)"),
)
_ASSIGNED = re.compile(
    r"""((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret)["']?\s*[:=]\s*["'])"""
    r"""(?=[^"'\s]*\d)([^"'\s{}$<>]{12,})(?=["'])""",
    re.IGNORECASE,
)


def is_secret_file(path: str) -> bool:
    """Whether a file by its name is one that holds secrets; an example of one is not."""
    return bool(_FILES.search(path)) and not _HARMLESS.search(PurePosixPath(path).name)


def redact(text: str) -> str:
    """The text with everything that looks like a key, a token or a password replaced."""
    for pattern in _VALUES:
        text = pattern.sub(LEFT_OUT, text)
    return _ASSIGNED.sub(lambda match: match[1] + LEFT_OUT, text)
