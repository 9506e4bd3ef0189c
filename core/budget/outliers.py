"""Tasks whose cost is out of line for their kind.

Costs of tasks are spread over orders of magnitude, so the logarithm is taken first: on raw costs half of what is
flagged is nothing. Median and median absolute deviation are used, because a mean and a standard deviation are moved
by the very outliers that are looked for. A floor under the spread keeps a group of near-equal tasks from flagging
trifles, and a least excess in money keeps cents out of the inbox.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

ENOUGH = 30
FLOOR = 0.15
"""Least spread, in natural logarithms."""
LIMIT = 3.5
"""Robust deviations (Iglewicz and Hoaglin 1993)."""
LEAST_EXCESS = 50_000
"""Micro-dollars above the middle."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is normal for a kind of task."""

    middle: int
    """Micro-dollars."""
    spread: float
    samples: int


def line_of(costs: Sequence[int]) -> Line | None:
    """What is normal among these costs in micro-dollars; None below thirty of them that cost anything."""
    logs = [math.log(cost) for cost in costs if cost > 0]
    if len(logs) < ENOUGH:
        return None
    middle = median(logs)
    spread = max(1.4826 * median(abs(value - middle) for value in logs), FLOOR)
    return Line(round(math.exp(middle)), spread, len(logs))


def why_out(cost: int, line: Line) -> str | None:
    """Why a cost is out of line, in words; None when it is not."""
    if cost - line.middle < LEAST_EXCESS:
        return None
    deviations = (math.log(cost) - math.log(line.middle)) / line.spread
    if deviations < LIMIT:
        return None
    return (
        f"${cost / 1e6:.2f} is {cost / line.middle:.0f} times the middle of {line.samples} tasks like it"
        f" (${line.middle / 1e6:.2f}); {deviations:.1f} robust deviations"
    )
