"""Forecasts hold what they promise on history that they have not seen; what is out of line is found, and nothing else."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from core.budget.forecast import period_end, task_cost
from core.budget.gateway.circuit import FAILURES, Circuit, Trouble, trouble_of
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


# ── circuits ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "seconds"),
    [
        (401, {}, b"", "key", 600.0),
        (429, {"retry-after": "7"}, b"", "rate", 7.0),
        (429, {"retry-after-ms": "1500"}, b"", "rate", 1.5),
        (429, {"retry-after": "Fri, 20 Nov 2026 00:01:00 GMT"}, b"", "rate", 60.0),
        (
            429,
            {"anthropic-ratelimit-tokens-reset": "2026-11-20T00:00:30Z", "anthropic-ratelimit-tokens-remaining": "0"},
            b"",
            "rate",
            30.0,
        ),
        (429, {"anthropic-ratelimit-unified-reset": str(int(NOW.timestamp()) + 90)}, b"", "rate", 90.0),
        (429, {"x-ratelimit-reset-requests": "1m2s", "x-ratelimit-remaining-requests": "0"}, b"", "rate", 62.0),
        (429, {"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "500"}, b"", "rate", None),
        (
            429,
            {},
            b'{"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}}',
            "rate",
            34.0,
        ),
        (429, {}, b'{"error": {"code": "insufficient_quota"}}', "quota", 900.0),
        (529, {}, b'{"error": {"type": "overloaded_error"}}', "server", None),
        (503, {"retry-after": "3"}, b"<html>", "server", 3.0),
    ],
)
def test_trouble_is_read_from_structured_fields(
    status: int, headers: dict[str, str], body: bytes, kind: str, seconds: float | None
) -> None:
    trouble = trouble_of(status, headers, body, NOW)
    assert trouble is not None
    assert (trouble.kind, trouble.seconds) == (kind, seconds)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 413, 422])
def test_a_wrong_request_says_nothing_about_the_service(status: int) -> None:
    assert (
        trouble_of(status, {}, b'{"error": {"type": "invalid_request_error", "message": "429 rate limit"}}', NOW)
        is None
    )


def test_a_circuit_opens_lets_one_try_and_closes() -> None:
    circuit = Circuit()
    for _ in range(FAILURES - 1):
        assert not circuit.fail(Trouble("server", "x"), NOW)
        assert circuit.admits(NOW)
    assert circuit.fail(Trouble("server", "x"), NOW)
    assert not circuit.admits(NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=6)
    assert circuit.admits(later)
    assert circuit.state == "half_open"
    assert not circuit.admits(later), "a second call tried while the first had not ended"
    circuit.fail(Trouble("server", "x"), later)
    assert not circuit.admits(later + timedelta(seconds=6)), "the pause does not grow"
    assert circuit.admits(later + timedelta(seconds=11))
    assert circuit.succeed()
    assert circuit.state == "closed"


def test_a_call_that_tried_and_said_nothing_leaves_the_next_to_try() -> None:
    circuit = Circuit(until=NOW)
    assert circuit.admits(NOW)
    circuit.let_go()
    assert circuit.admits(NOW)
