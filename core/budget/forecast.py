"""What a task will cost before it runs, and what a period will have cost at its end: intervals that say what they hold.

A task: the empirical quantiles of the last 200 tasks like it, widened or narrowed by adaptive conformal inference
(Gibbs and Candès 2021, step γ = 0.02): each past task is predicted from those before it, and the level moves by
whether it fell into its interval. That holds the promised share under drift, where fitted models did not.

A month, or any other period: the totals of its steps (days, or hours) of the last weeks, drawn again with replacement,
twice: once for what might have been seen as well, once for the steps that are left (double bootstrap). It needs no
assumption on how they are spread, and one dear day widens the interval and does not move its middle much.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import quantiles

STEP = 0.02
"""How far the level moves with each task."""

WINDOW = 200
"""Tasks that a prediction looks back at."""

ENOUGH = 30
"""Below so many tasks a wider group is looked at."""

DRAWS = 1000

SHARPNESS = 0.6
"""Bootstrap intervals of a few skewed days are too narrow: the tails are cut at this part of what they should be. Found
on simulated months (log-normal days of two spreads, even days), where 80 % then holds for 77 to 86 %.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """Micro-dollars: the middle, and bounds between which the truth falls with the share ``holds``."""

    low: int
    middle: int
    high: int
    holds: float
    samples: int


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of sorted values, between neighbours by their distance (``percentile_cont`` of SQL)."""
    place = min(max(share, 0.0), 1.0) * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def task_cost(history: Sequence[int], holds: float = 0.9) -> Interval | None:
    """The cost of the next task after these, the oldest first; None below ten of them."""
    if len(history) < 10:
        return None
    level = adapted_level(history, holds)
    recent = sorted(history[-WINDOW:])
    low, high = bounds(recent, level)
    return Interval(round(low), round(quantile(recent, 0.5)), round(high), holds, len(recent))


def adapted_level(history: Sequence[int], holds: float) -> float:
    """The share of misses to aim at, so that in truth ``1 - holds`` of the tasks miss."""
    level = 1 - holds
    for position in range(10, len(history)):
        low, high = bounds(sorted(history[max(position - WINDOW, 0) : position]), level)
        missed = not low <= history[position] <= high
        level = min(max(level + STEP * ((1 - holds) - missed), 0.0), 0.5)
    return level


def bounds(recent: Sequence[float], level: float) -> tuple[float, float]:
    """The interval at a level; at level 0 it is widened beyond what was seen."""
    low, high = quantile(recent, level / 2), quantile(recent, 1 - level / 2)
    return (0.0, high * 1.5) if level <= 0 else (low, high)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The end of a period: what it will have used, and after how many steps its limit is met, where it is."""

    end: Interval
    runs_out_in: float | None
    """Steps from now, in the middle of all draws; None: the limit holds."""


def period_end(
    spent: int, hard: int | None, used: Sequence[int], left: float, holds: float = 0.8, seed: int = 1
) -> Outlook | None:
    """The outlook of a period that has so many steps left. ``used``: totals of past whole steps, in the unit of ``spent`` and
    ``hard``; None below three of them.
    """
    if len(used) < 3:
        return None
    dice = random.Random(seed)  # noqa: S311 - a simulation
    whole, part = int(left), left - int(left)
    ends: list[float] = []
    outs: list[float | None] = []
    for _ in range(DRAWS):
        total, out = float(spent), None
        like = dice.choices(used, k=len(used))  # the steps that were seen are themselves a draw
        for step in range(whole + 1):
            total += dice.choice(like) * (1.0 if step < whole else part)
            if hard is not None and out is None and total >= hard:
                out = min(step + 1.0, left)
        ends.append(total)
        outs.append(out)
    cuts = quantiles(ends, n=100)
    miss = round((1 - holds) * 50 * SHARPNESS)
    end = Interval(round(cuts[miss - 1]), round(cuts[49]), round(cuts[99 - miss]), holds, len(used))
    return Outlook(end, 0.0 if hard is not None and spent >= hard else _middle(outs))


def exhaustion(spent: int, hard: int | None, used: Sequence[int], horizon: int = 366, seed: int = 1) -> float | None:
    """After how many steps a limit that is never renewed is met, in the middle of all draws; None where there is none, it holds
    for the horizon, or fewer than three steps were seen. Parameters as for :func:`period_end`.
    """
    if hard is None:
        return None
    if spent >= hard:
        return 0.0
    if len(used) < 3:
        return None
    dice = random.Random(seed)  # noqa: S311 - a simulation
    outs: list[float | None] = []
    for _ in range(DRAWS // 5):
        like = dice.choices(used, k=len(used))
        ahead = accumulate(dice.choices(like, k=horizon), initial=spent)
        outs.append(next((float(step) for step, total in enumerate(ahead) if total >= hard), None))
    return _middle(outs)


def _middle(outs: Sequence[float | None]) -> float | None:
    """The middle of the steps at which a limit is met; None where it is met in fewer than half of the draws."""
    met = sorted(out for out in outs if out is not None)
    return met[len(met) // 2] if len(met) > len(outs) / 2 else None
