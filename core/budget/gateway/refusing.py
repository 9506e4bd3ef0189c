"""What a client is told when nobody answers its call."""

from dataclasses import dataclass

from aiohttp import web

from core.budget.wire import Refusal, Wire
from storage.queries.budget import Grant, Service


@dataclass(frozen=True, slots=True)
class No:
    """Why a service did not answer: the first of a chain is what the client is told."""

    kind: Refusal
    message: str
    retry: float | None = None
    grant: Grant | None = None
    service: str | None = None
    keyless: bool = False
    """Whether it lacks its key: only a person can change that."""


def refuse(wire: Wire, kind: Refusal, message: str, retry: float | None = None) -> web.Response:
    """The provider's own error for this; told once, clients of a budget at its end stop. So do those of a service that only a person can
    mend: what is unavailable and has no time to ``retry`` after, in seconds.
    """
    status, body = wire.refusal(kind, message)
    again = retry is not None and kind is Refusal.UNAVAILABLE
    told = {"x-should-retry": "true" if again else "false"}
    if retry is not None and again:
        told["retry-after"] = str(max(round(retry), 1))
    return web.json_response(body, status=status, headers=told)


def no_service(wire: Wire, model: str) -> str:
    """The sentence for a model that no service takes."""
    return (
        f"no service speaks the protocol of {wire.provider} for the model {model[:100]!r};"
        f" add one with `qd service add NAME --provider {wire.provider}`"
    )


def not_granted(grant: Grant, service: Service) -> No:
    match grant.outcome:
        case "dead":
            return No(Refusal.TOKEN, "the run of this token has ended", service=service.name)
        case "suspended":
            why = f": {grant.reason}" if grant.reason else ""
            return No(Refusal.BUDGET, f"service {service.name} is suspended{why}", grant=grant, service=service.name)
        case "limit":
            until = f"; it is renewed at {grant.until:%Y-%m-%d %H:%M:%S} UTC" if _ends(grant) else ""
            message = f"the budget {budget_words(grant, service)} is used up{until}"
            return No(Refusal.BUDGET, message, grant=grant, service=service.name)
        case "busy":
            message = f"the budget {budget_words(grant, service)} is all reserved by calls under way"
            return No(Refusal.BUDGET, message, grant=grant, service=service.name)
        case _:
            return No(Refusal.UNAVAILABLE, f"service {service.name} is gone", 5, service=service.name)


def budget_words(grant: Grant, service: Service) -> str:
    """Whose budget refused."""
    if grant.key in ("", None):
        return "of the day"
    if grant.key == service.name:
        return f"of service {service.name}"
    if grant.task is not None and grant.key == str(grant.task):
        return f"of task #{grant.key}"
    return f"of {grant.key}"


def _ends(grant: Grant) -> bool:
    return grant.until is not None and grant.until.year < 9999


def graver(first: No | None, second: No) -> No:
    """What the client is told of a chain: a dead token before all, a budget before what is out of order, else the
    first.
    """
    if first is None or second.kind is Refusal.TOKEN:
        return second
    return second if second.kind is Refusal.BUDGET and first.kind is Refusal.UNAVAILABLE else first
