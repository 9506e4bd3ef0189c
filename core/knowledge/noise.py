"""What of a program's output, and of a person's words, says nothing: progress, chatter, bytes that are no text, agreement."""

import re

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TELLING = re.compile(
    r"^E\s+\S|\b(?:error|Error|ERROR|FAILED|FAIL|failed|panic|fatal|assert\w*|expected|undefined|not found)\b|✗|✘|×"
)
_CHATTER = re.compile(
    r"^\W*\d[\d:.,TZ+/ -]*\W(?:(?!WARN|ERR|FATAL|CRIT).){0,60}?\b(?:INFO|DEBUG|TRACE|NOTICE)\b|^\W{0,2}(?:INFO|DEBUG|TRACE|NOTICE)(?:[\]):]|\s)"
)
"""A line of a log that is below a warning, with its time or without."""
_SHARE = re.compile(r"\s*\[\s*\d{1,3}\s?%\]\s*$")
_BAR = re.compile(r"[\[|(][ .-]*[=#>*█▇▆▅▄▃▂▁▏▎▍▌▋▊▉░▒▓]{2,}[^\])|]*[\])|].*\d|\d{1,3}\s?%\s*[|\[]")
_AGREEMENT = re.compile(
    r"\W*(?:lgtm|looks?\s+(?:good|great|fine|right)|nice|thanks?|thank\s+you|thx|ta|great|good|well\s+done|perfect|excellent|awesome|cool|"
    r"fine|ok(?:ay)?|yes|yep|done|approved?|agreed?|merge(?:d|\s+it)?|ship\s+it|go\s+ahead|works?\s+for\s+me|\+1|👍|nit)(?:\b|\W|$)",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:but|except|however|though|next\s+time|should|must|please|never|always|don't|do\s+not|use|avoid|only|instead|without)\b",
    re.IGNORECASE,
)
_SHORT = 60
"""Characters up to which a note that begins with agreement, and wishes nothing, is nothing but that."""
_UNREADABLE = 0.1
"""Share of a line's signs from which on it is no text."""


def lines_that_say_something(output: str, width: int) -> list[str]:
    """The lines of a program's output, cut to ``width`` signs: without escapes, bytes that are no text, bars and chatter."""
    found = (_plain(line[: 4 * width]) for line in output.replace("\r", "\n").split("\n"))
    return [line[:width].rstrip() for line in found if not _is_noise(line)]


def tells(line: str) -> bool:
    """Whether a line names what is wrong."""
    return bool(_TELLING.search(line))


def readable(text: str) -> str:
    """A text without escapes and bytes that are no text."""
    return "\n".join(map(_plain, text.replace("\r\n", "\n").split("\n")))


def says_something(note: str) -> bool:
    """Whether a person's note on a change can teach anything: more than a word, and more than agreement."""
    if len(note) < _SHORT and _AGREEMENT.match(note) and not _WISH.search(note):
        return False
    words = re.findall(r"\w+", note)
    unspaced = sum(
        not sign.isascii() for word in words for sign in word
    )  # of a script without spaces a few signs are a sentence
    return unspaced >= 4 or (len(words) > 1 and sum(map(len, words)) >= 5)


def _plain(line: str) -> str:
    """The line without what no reader sees; empty where so much of it is unreadable that it is no text."""
    line = _ESCAPE.sub("", line).replace("\t", "    ")
    kept = "".join(sign for sign in line if sign.isprintable() and sign != "\ufffd")
    lost = len(line) - len(kept)
    return "" if lost > 2 and lost > _UNREADABLE * len(line) else kept


def _is_noise(line: str) -> bool:
    words = _SHARE.sub("", line).split()
    signs = "".join(words)
    return (
        not any(map(str.isalnum, signs))
        or sum(map(str.isalnum, signs)) < 0.3 * len(signs)
        or bool(_CHATTER.search(line))
        or (bool(_BAR.search(line) or _SHARE.search(line)) and not tells(line))
        or (len(words) > 10 and len(set(words)) * 5 < len(words))
    )
