"""Forecasts hold what they promise on history that they have not seen; what is out of line is found, and nothing else."""

import math
import random
from datetime import UTC, datetime

import pytest

from core.budget.forecast import period_end, task_cost
from core.budget.outliers import line_of, why_out

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def history(seed: int, n: int = 1500, drift: float = 0.0) -> list[int]:
    """Costs of tasks as they are: spread over orders of magnitude, with a drift and a jump when the model changes."""
    dice = random.Random(seed)
    return [int(math.exp(dice.gauss(12 + drift * t / n + (0.8 if t > n // 2 else 0), 0.9))) for t in range(n)]


@pytest.mark.parametrize("drift", [0.0, 1.5, -1.5])
def test_nine_of_ten_tasks_cost_what_was_foretold_also_under_drift(drift: float) -> None:
    costs = history(1, drift=drift)
    hits = total = 0
    for at in range(300, len(costs), 5):
        interval = task_cost(costs[:at])
        assert interval is not None
        hits += interval.low <= costs[at] <= interval.high
        total += 1
    assert 0.86 <= hits / total <= 0.95


def test_too_little_history_is_said_and_not_guessed() -> None:
    assert task_cost([1] * 9) is None
    assert period_end(0, None, [5, 5], 10) is None
    assert line_of([100_000] * 29) is None


def test_the_end_of_a_month_falls_into_its_interval_as_often_as_promised() -> None:
    hits = 0
    for seed in range(200):
        dice = random.Random(seed)
        days = [int(dice.lognormvariate(14, 0.7)) for _ in range(58)]
        outlook = period_end(0, None, days[:28], 30, seed=seed)
        assert outlook is not None
        hits += outlook.end.low <= sum(days[28:]) <= outlook.end.high
    assert 0.74 <= hits / 200 <= 0.92


def test_the_day_when_a_budget_runs_out() -> None:
    outlook = period_end(2_000_000, 10_000_000, [1_000_000] * 14, 20)
    assert outlook is not None
    assert outlook.runs_out_in == 8
    assert period_end(0, 10**9, [1_000_000] * 14, 20).runs_out_in is None  # type: ignore[union-attr]
    assert period_end(10, 10, [1, 1, 1], 20).runs_out_in == 0  # type: ignore[union-attr]


def test_what_is_out_of_line_is_found_with_the_reason_and_nothing_else() -> None:
    costs = history(3, 200)
    line = line_of(costs)
    assert line is not None
    assert sum(why_out(cost, line) is not None for cost in costs) <= 2
    reason = why_out(line.middle * 60, line)
    assert reason is not None
    assert "60 times the middle of 200 tasks" in reason


def test_a_group_of_near_equal_tasks_flags_no_trifles() -> None:
    line = line_of([100_000 + n for n in range(60)])
    assert line is not None
    assert why_out(115_000, line) is None
    assert why_out(200_000, line) is not None
    cents = line_of([100] * 40)
    assert cents is not None
    assert why_out(20_000, cents) is None
