"""Health of a service: what answers say about it, and who may try when it is out of order."""

from datetime import UTC, datetime, timedelta

import pytest

from core.budget.gateway.circuit import FAILURES, Circuit, Trouble, trouble_in_stream, trouble_of
from core.budget.wire.base import Fault

NOW = datetime(2026, 11, 20, tzinfo=UTC)
BROKEN = Trouble("server", "x")


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


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}', "key"),
        (400, b'[{"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]', "key"),
        (
            403,
            b'{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "it was reported as leaked"}}',
            "key",
        ),
        (403, b'{"type": "error", "error": {"type": "permission_error", "message": "revoked"}}', "key"),
        (400, b'{"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to"}}', "quota"),
        (400, b'{"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "OTHER"}]}}', None),
        (400, b'{"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}}', None),
    ],
)
def test_what_a_provider_says_in_a_400_or_403_of_its_key_or_account(status: int, body: bytes, kind: str | None) -> None:
    trouble = trouble_of(status, {}, body, NOW)
    assert (trouble.kind if trouble else None) == kind


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        *((name, "server") for name in ("overloaded_error", "api_error", "server_error", "INTERNAL", "UNAVAILABLE")),
        *((name, "server") for name in ("timeout_error", "DEADLINE_EXCEEDED", "server_is_overloaded", "error")),
        *((name, "rate") for name in ("rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED")),
        *((name, "quota") for name in ("insufficient_quota", "billing_error")),
        *((name, "key") for name in ("authentication_error", "invalid_api_key", "PERMISSION_DENIED")),
        *((name, None) for name in ("context_length_exceeded", "invalid_request_error", "invalid_prompt")),
        *((name, None) for name in ("content_filter", "request_too_large", "INVALID_ARGUMENT", "model_not_found")),
    ],
)
def test_an_error_in_a_stream_is_the_service_s_only_where_it_says_so(fault: str, kind: str | None) -> None:
    trouble = trouble_in_stream(Fault(fault, "…"))
    assert (trouble.kind if trouble else None) == kind


def test_a_circuit_opens_lets_one_try_and_closes() -> None:
    circuit = Circuit()
    for _ in range(FAILURES - 1):
        passage = circuit.enter(NOW)
        assert passage is not None
        assert not circuit.fail(BROKEN, NOW, passage)
    passage = circuit.enter(NOW)
    assert passage is not None
    assert circuit.fail(BROKEN, NOW, passage)
    assert circuit.enter(NOW + timedelta(seconds=1)) is None
    later = NOW + timedelta(seconds=6)
    probe = circuit.enter(later)
    assert probe is not None
    assert circuit.state == "half_open"
    assert circuit.enter(later) is None, "a second call tried while the first had not ended"
    circuit.fail(BROKEN, later, probe)
    assert circuit.enter(later + timedelta(seconds=6)) is None, "the pause does not grow"
    probe = circuit.enter(later + timedelta(seconds=11))
    assert probe is not None
    assert circuit.succeed(probe)
    assert circuit.state == "closed"


def test_a_call_that_tried_and_said_nothing_leaves_the_next_to_try() -> None:
    circuit = Circuit(until=NOW)
    probe = circuit.enter(NOW)
    assert probe is not None
    circuit.leave(probe)
    assert circuit.enter(NOW) is not None


def test_an_answer_from_before_a_circuit_opened_does_not_close_it() -> None:
    circuit = Circuit()
    early, other = circuit.enter(NOW), circuit.enter(NOW)
    assert early is not None
    assert other is not None
    assert circuit.fail(Trouble("rate", "slow down", 60.0), NOW, other)
    assert not circuit.succeed(early)
    assert circuit.enter(NOW + timedelta(seconds=59)) is None
    probe = circuit.enter(NOW + timedelta(seconds=61))
    assert probe is not None
    circuit.leave(early)
    assert circuit.enter(NOW + timedelta(seconds=61)) is None, "a call that ended has ended the attempt of another"
    assert circuit.succeed(probe)


def test_a_crowd_that_fails_together_counts_once_and_the_longest_pause_holds() -> None:
    circuit = Circuit()
    crowd = [passage for _ in range(50) if (passage := circuit.enter(NOW))]
    for position, passage in enumerate(crowd):
        circuit.fail(Trouble("rate", "slow down", 10.0 + position), NOW, passage)
    assert circuit.failures == 1
    assert circuit.until == NOW + timedelta(seconds=59)


def test_a_failure_from_before_a_circuit_closed_again_does_not_count() -> None:
    circuit = Circuit()
    early = circuit.enter(NOW)
    assert early is not None
    circuit.put(until=NOW, failures=5, reason="x")
    circuit.put(until=None, failures=0, reason=None)
    assert not circuit.fail(Trouble("rate", "slow down"), NOW, early)
    assert (circuit.state, circuit.failures) == ("closed", 0)
