"""What must never become knowledge: keys, passwords, private files. It is left out before anything is stored."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from core.knowledge.languages import CODE

LEFT_OUT = "[secret left out]"

_FILES = re.compile(
    r"(^|/)([^/]*\.env(\..+)?|\.envrc|\.netrc|\.pgpass|\.my\.cnf|\.npmrc|\.pypirc|\.s3cfg|\.boto|\.dockercfg|\.docker/config\.json|\.?kubeconfig"
    r"|\.kube/config|\.git-credentials|\.?htpasswd|\.vault[-_]?pass(word)?|id_(rsa|dsa|ecdsa|ed25519)|credentials(\.json|\.csv)?"
    r"|secrets?\.(json|ya?ml|toml|ini|env|properties)|service[-_]?account.*\.json|.*\.tfstate(\.backup)?"
    r"|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ovpn|asc|gpg|ppk))$",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"\.(example|sample|template|dist|defaults?)$|^\.?(example|sample|template|default)s?[._-]", re.IGNORECASE
)

_VALUES: Sequence[re.Pattern[str]] = tuple(
    map(
        re.compile,
        (
            r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
            r"AKIA(?<!\wAKIA)[0-9A-Z]{16}\b",
            r"ASIA(?<!\wASIA)[0-9A-Z]{16}\b",
            r"gh[pousr]_[A-Za-z0-9]{30,}",
            r"github_pat_[A-Za-z0-9_]{40,}",
            r"glpat-[\w-]{20,}",
            r"sk-(?<!\wsk-)(?:ant-|proj-)?[A-Za-z0-9_-]{20,}",
            r"xox[abposr]-[A-Za-z0-9-]{10,}",
            r"AIza[0-9A-Za-z_-]{35}",
            r"k_(?<=[rs]k_)(?:live|test)_[0-9A-Za-z]{16,}",
            r"SG\.[\w-]{16,}\.[\w-]{16,}",
            r"npm_(?<!\wnpm_)[A-Za-z0-9]{30,}",
            r"pypi-[A-Za-z0-9_-]{40,}",
            r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
            r"hf_(?<!\whf_)[A-Za-z0-9]{30,}",
            r"_v1_(?<=do[opr]_v1_)[0-9a-f]{64}",
            r":AA(?<=\d{8}:AA)[\w-]{30,}",
            r"\.atlasv1\.[\w-]{50,}",
            r"8Q~(?<=\w{3}8Q~)[\w.~-]{31,34}",
            r"(Key=)[A-Za-z0-9+/]{40,}={0,2}",
            r"(hooks\.slack\.com/)(?:services|workflows|triggers)/[\w/-]{12,}",
            r"(/api/webhooks/)\d+/[\w-]{20,}",
            r"""(://)(?:[^\s/:@'"<>{}$]*:[^\s/'"<>{}$]{2,}|[\w-]{30,})(?=@)""",
        ),
    )
)
"""What a secret looks like. Each begins with signs that it must hold, by which texts are passed over quickly: what stands before those is looked
back at. A group is what stays.
"""
_TOKENS: Mapping[str, str] = {
    "whsec_": r"whsec_[A-Za-z0-9+/]{24,}", "GOCSPX-": r"GOCSPX-[\w-]{20,}", "ya29.": r"ya29\.[\w-]{30,}", "dckr_": r"dckr_(?:pat|oat)_[\w-]{20,}",
    "shp": "shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", "sq0": r"sq0(?:csp|atp)-[\w-]{22,}", "AGE-": "AGE-SECRET-KEY-1[0-9A-Z]{40,}",
    "xapp-": r"xapp-\d-[A-Z0-9]+-\d+-[0-9a-z]{30,}", "sbp_": "sbp_[0-9a-f]{40}", "lin_api_": "lin_api_[A-Za-z0-9]{32,}",
    "ATATT3": r"ATATT3[\w=-]{50,}", "nvapi-": r"nvapi-[\w-]{50,}", "gsk_": "gsk_[A-Za-z0-9]{40,}", "xai-": "xai-[A-Za-z0-9]{60,}",
    "pplx-": "pplx-[A-Za-z0-9]{40,}", "hvs.": r"hvs\.[\w-]{40,}", "dp.pt.": r"dp\.pt\.[A-Za-z0-9]{40,}", "NRAK-": "NRAK-[A-Z0-9]{27}",
    "glrt-": r"glrt-[\w-]{20,}", "glsa_": "glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}", "figd_": r"figd_[\w-]{30,}", "pscale_": r"pscale_(?:tkn|pw)_[\w.-]{30,}",
    "ntn_": "ntn_[A-Za-z0-9]{40,}", "rubygems_": "rubygems_[0-9a-f]{48}",
}  # fmt: skip
"""Tokens that are known by how they begin, by a word that such a one holds."""
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(_TOKENS.values())})(?![A-Za-z0-9])")
_QUOTED = re.compile(r"""([:=]\s*["'])(?=[^"'\s]*\d)([^"'\s{}$<>]{6,})(?=["'])""")
_LONG = 12
"""Characters from which on a quoted value is a secret under any name of one; under that of a password a shorter one is, too."""
_LOGIN = r"(?:pass(?:word|wd|phrase|code)|(?<![a-z])pass|(?<=[_.-])pwd)"
_NAME = (
    rf"(?:{_LOGIN}|secret(?:[_-]?(?:access[_-]?)?key(?:[_-]?base)?)?|token|client[_-]?secret|credentials?"
    r"|(?:api|access|private|auth|account|encryption|signing|master)[_-]?key)"
)
_NAMED = re.compile(rf"""{_NAME}["']?\s*\Z""", re.IGNORECASE)
_NAMED_LOGIN = re.compile(rf"""{_LOGIN}["']?\s*\Z""", re.IGNORECASE)
_LONGEST_NAME = 40

_BARE = r"""(?P<value>"[^"\n]+"|'[^'\n]+'|[^\s"'`$<>(){}\[\];|&,]{3,}(?=[\s"'`\\;&|]|\Z))"""
_LOUD = (
    r"(?:PASSWORD|PASSWD|PASSPHRASE|(?<=_)PASS|(?<=_)PWD|SECRET(?:_ACCESS)?(?:_KEY(?:_BASE)?)?|TOKEN|CREDENTIALS?"
    r"|(?:API|ACCESS|PRIVATE|AUTH|ACCOUNT|ENCRYPTION|SIGNING|MASTER)_?KEY)"
)
_ANYWHERE: Sequence[tuple[tuple[str, ...], re.Pattern[str]]] = (
    (
        (
            "PASSWORD=",
            "PASSWD=",
            "_PASS=",
            "_PWD=",
            "PASSPHRASE=",
            "SECRET=",
            "TOKEN=",
            "_KEY=",
            "APIKEY=",
            "KEY_BASE=",
            "CREDENTIAL",
        ),
        re.compile(rf"(?<![\w.$-])(?P<name>[A-Z0-9_]*{_LOUD})={_BARE}"),
    ),
    (
        ("curl",),
        re.compile(
            r"""\bcurl\b(?:[^\n\\]|\\.|\\\n){0,300}?\s(?:-u|--user|--proxy-user|-U)[ =]?["']?(?P<name>[^\s:"'$]+):(?P<value>[^\s"']+)"""
        ),
    ),
    (
        ("asic ", "earer "),
        re.compile(
            r"""(?i:(?P<name>authorization)\\?["']?\s*[:=,]\s*(?:\w+\()?\\?["']?(?:basic|bearer)[ ]+)(?P<value>[A-Za-z0-9+/_.~-]{6,}=*)"""
        ),
    ),
)
"""What gives a secret away wherever it stands, with words of which a text holds one: a loud assignment, an option, a header."""
_OPTION = re.compile(rf"(?:\bexport|--build-arg|\bENV|\bARG|--env|\s-e)[ =]+[\"']?(?P<name>\w*(?i:{_NAME}))={_BARE}")
_ENV = re.compile(rf"^[ \t]*ENV[ \t]+(?P<name>\w*(?i:{_NAME}))[ \t]+(?P<value>\S.*)$", re.MULTILINE)
_LINE = re.compile(
    rf"""^[ \t]*(?:[-#;][ \t]*)?["']?(?P<name>[\w. /-]*?{_NAME})["']?[ \t]*[:=][ \t]*(?P<value>\S.*)$""",
    re.IGNORECASE | re.MULTILINE,
)
_FLOW = re.compile(
    rf"""[{{,][ \t]*["']?(?P<name>[\w.-]*?{_NAME})["']?[ \t]*:[ \t]+(?P<value>[^,}}\n]+)""", re.IGNORECASE
)
_BLOCK = re.compile(
    rf"""^(?P<indent>[ \t]*)(?P<name>[\w.-]*?{_NAME}):[ \t]*[|>][+-]?\d?[ \t]*\n(?P<value>(?:(?P=indent)[ \t]+\S.*(?:\n|\Z))+)""",
    re.IGNORECASE | re.MULTILINE,
)
_ELEMENT = re.compile(rf"<(?P<name>[\w.:-]*?{_NAME})>(?P<value>[^<\s]+)</", re.IGNORECASE)
_SAID = re.compile(
    rf"""^[ \t>*+-]*["'`]?(?P<name>[\w .-]*?{_NAME})["'`]?[ \t]*[:=][ \t]*`?(?P<value>(?=\S*\d)[^\s"'`$<>(){{}}\[\];,]{{6,}})`?[ \t]*$""",
    re.IGNORECASE | re.MULTILINE,
)
_SHELL = re.compile(rf"(?<![\w.$-])(?P<name>\w*{_NAME})={_BARE}", re.IGNORECASE)

_SETTINGS = re.compile(
    r"\.(ya?ml|ini|cfg|conf|cnf|config|properties|toml|tfvars|envrc)$|(^|/)[^/]*\.env(\.[^/]*)?$", re.IGNORECASE
)
_TRANSLATIONS = re.compile(r"(^|/)(locales?|i18n|l10n|lang(uage)?s?|translations?|messages)/", re.IGNORECASE)
_SCRIPTS = re.compile(r"\.(sh|bash|zsh|fish|ksh)$", re.IGNORECASE)
_PROSE = re.compile(r"\A\Z|\.(md|markdown|mdx|mdc|rst|adoc|txt|org|clinerules|cursorrules)$", re.IGNORECASE)

_NO_VALUE = re.compile(
    r"""["']?(?:[$<%*!].*|[|>][+-]?\d?\s*|\W*|(?:true|false|null|none|nil|yes|no|on|off|str|string|int|integer|bool|boolean|bytes|object"""
    r"""|required|optional|undefined|any|password|secret|token|env|\.\.\.+)["']?(?:[\s,;#].*)?)\Z""",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def is_secret_file(path: str) -> bool:
    """Whether a file by its name is one that holds secrets; an example of one is not."""
    return bool(_FILES.search(path)) and not _HARMLESS.search(PurePosixPath(path).name)


def redact(text: str, path: str = "") -> str:
    """The text with everything that looks like a key, a token or a password replaced, in as many lines as before.

    ``path``: the file that it is of, by which a bare word after a name is a value (settings, scripts) or code; a text of no file is prose.
    """
    for pattern in _VALUES:
        text = pattern.sub(_left_out, text)
    if any(word in text for word in _TOKENS):
        text = _TOKEN.sub(LEFT_OUT, text)
    for words, pattern in _ANYWHERE:
        if any(word in text for word in words):
            text = pattern.sub(_unless_reference, text)
    for pattern in _patterns_of(path):
        text = pattern.sub(_unless_reference, text)
    return _QUOTED.sub(_unless_harmless, text)


def redact_patch(patch: str, path: str) -> str:
    """The lines of a file's patch, as :func:`redact` leaves them before and after the change; empty for a file of secrets.

    ``patch``: from its first ``@@`` on. The words of the file after the second ``@@`` are cut off: they are of no line of the patch.
    """
    if is_secret_file(path):
        return ""
    lines = ["@@".join(line.split("@@")[:2]) + "@@" if line.startswith("@@") else line for line in patch.split("\n")]
    clean = list(lines)
    for signs in (
        ("-", " "),
        ("+", " "),
    ):  # each as it was in the file: what gives a secret away may stand lines before it
        side = [at for at, line in enumerate(lines) if line.startswith(signs)]
        redacted = redact("\n".join(lines[at][1:] for at in side), path).split("\n")
        for at, text in zip(side, redacted, strict=bool(side)):
            if text != lines[at][1:]:
                clean[at] = lines[at][0] + text
    return "\n".join(clean)


def _patterns_of(path: str) -> Sequence[re.Pattern[str]]:
    """What gives a secret away in files of its kind alone; none of it in code."""
    if PurePosixPath(path).suffix.lower() in CODE:
        return ()
    if _PROSE.search(path):
        return (_OPTION, _ENV, _SAID)
    if _SCRIPTS.search(path):
        return (_OPTION, _SHELL)
    if path.endswith((".xml", ".config", ".plist")):
        return (_ELEMENT,)
    if _SETTINGS.search(path) and not _TRANSLATIONS.search(path):
        return (_OPTION, _BLOCK, _FLOW, _LINE)
    return (_OPTION, _ENV)


def _left_out(found: re.Match[str]) -> str:
    return f"{found[1] if found.re.groups else ''}{_in_place_of(found[0])}"


def _in_place_of(secret: str) -> str:
    return LEFT_OUT + "\n" * secret.count("\n")


def _unless_reference(found: re.Match[str]) -> str:
    """What was found without its value; as it is where that only says where the value is to be had."""
    value, whole = found["value"], found[0]
    bare = value.strip("\"' ")
    if (
        LEFT_OUT in value
        or _NO_VALUE.match(value)
        or _ATTRIBUTE.fullmatch(value)
        or bare.lower() == found["name"].lower()
        or any(sign in value for sign in ("${", "{{", "$("))
    ):
        return whole
    start = found.start("value") - found.start()
    return f"{whole[:start]}{_in_place_of(value)}{whole[start + len(value) :]}"


def _unless_harmless(found: re.Match[str]) -> str:
    """A quoted value that is assigned: left out where the name before it is one of a secret."""
    before = found.string[max(0, found.start() - _LONGEST_NAME) : found.start()]
    named = _NAMED if len(found[2]) >= _LONG else _NAMED_LOGIN
    return found[1] + LEFT_OUT if named.search(before) else found[0]
