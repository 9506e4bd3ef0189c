"""Colours as people name them, and a palette of which every one is legible on dark and on light ground."""

import re
from collections.abc import Collection

PALETTE: tuple[tuple[str, str], ...] = (
    ("#3b82c4", "#8ab8e0"),
    ("#c4703b", "#e0ab8a"),
    ("#3b9e6a", "#8accab"),
    ("#9b5fc0", "#c7a4dd"),
    ("#b8893a", "#d9bc85"),
    ("#c0557f", "#dd9cb8"),
    ("#2f98a0", "#84c6cb"),
    ("#7d8a3a", "#b5bf85"),
    ("#6a74cf", "#abb1e4"),
    ("#a8604f", "#d0a196"),
    ("#5b8f3a", "#a1c189"),
    ("#8a6f9e", "#bcaacb"),
)
"""Primary and accent.

Each primary has a contrast of at least 3 to 1 both to black and to white (WCAG 2, relative luminance).
"""

_CSS = """
    aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood
    cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray
    darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen
    darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue
    firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew
    hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan
    lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray
    lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue
    mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred
    midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid
    palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple
    rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue
    slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet wheat white
    whitesmoke yellow yellowgreen"""
NAMES = frozenset(_CSS.split())
"""The names of CSS Color Module Level 4."""

_HEX = re.compile(r"#(?:[0-9a-f]{6}|[0-9a-f]{3})")


def colour(text: str) -> str:
    """A colour in lower case: a name of CSS, or ``#rrggbb`` (``#rgb`` is widened). Raises ValueError."""
    value = text.strip().lower()
    if _HEX.fullmatch(value):
        return value if len(value) == 7 else "#" + "".join(digit * 2 for digit in value[1:])
    if value in NAMES:
        return value
    raise ValueError("is no colour; write #rrggbb, or a name such as teal")


def next_colours(used: Collection[str]) -> tuple[str, str]:
    """Primary and accent for one more project: the first pair whose primary nobody has, else they begin again."""
    free = [pair for pair in PALETTE if pair[0] not in used]
    return free[0] if free else PALETTE[len(used) % len(PALETTE)]
