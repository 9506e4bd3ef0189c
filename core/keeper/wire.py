"""JSON for the keeper.

The module ``json`` loads regular expressions and enumerations: 6 ms on the way to the agent's first instruction and a
megabyte in every keeper. The scanner that is its core does without, and what the keeper says itself is simple.
"""

try:
    from _json import encode_basestring_ascii, make_scanner
except ImportError:
    from json.encoder import py_encode_basestring_ascii as encode_basestring_ascii

    make_scanner = None  # type: ignore[assignment,misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What the scanner wants to know."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: "dict[str, str]" = {}  # noqa: RUF012  the scanner clears it itself


def decode(data: bytes) -> "Any":
    """The value that this JSON text (UTF-8) stands for; raises ValueError or RecursionError where it is none."""
    text = data.decode().strip(" \t\r\n")
    if make_scanner is None:
        import json

        return json.loads(text)
    try:
        value, end = make_scanner(_Context)(text, 0)  # type: ignore[arg-type]  # any object with these names will do
    except StopIteration:
        raise ValueError("the text holds no JSON") from None
    if end != len(text):
        raise ValueError("there is more than one value in the text")
    return value


def encode(value: "dict[str, Any] | str | float | None") -> str:
    """JSON text, ASCII in one line, of the values that the keeper tells of (all numbers finite)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{encode(name)}: {encode(item)}" for name, item in value.items()) + "}"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
