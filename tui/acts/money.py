"""Actions on money: limits raised and set, services suspended and resumed, charges looked at from another side, alerts put away."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from core.commands.table import find
from tui.actions import Place, Subject, action, checked, command, only_one, several
from tui.giving import outcome
from tui.panels.budgets import Line, amount
from tui.undoing import Undo

if TYPE_CHECKING:
    from core.commands.budget import Budget
    from tui.screens.budgets import SpentOn

HERE = ("budgets", "money")
"""Scopes: the table of budgets on the deck and on its own screen, and all of that screen."""


@action("open.budgets", "g b")
def open_budgets(place: Place) -> None:
    """Go to the budgets: how they burn down, who spent what, alerts."""
    place.app.open("budgets")


@action("budgets.open", "enter", scopes=("budgets",))
def open_one(place: Place) -> None:
    """Show what was charged to the budget last; on the deck, go to the budgets."""
    from tui.screens.budgets import BudgetsScreen

    if not isinstance(place.screen, BudgetsScreen):
        place.app.open("budgets")
    else:
        place.screen.focus_pane("spent")


def _line(place: Place) -> Line | None:
    row = place.subject.row if place.subject is not None else None
    return row if isinstance(row, Line) else None


def _budget(place: Place) -> str | None:
    row = _line(place)
    return None if row is not None and row.budget is not None else "no budget is selected"


def _limited(place: Place) -> str | None:
    row = _line(place)
    return None if row is not None and row.budget is not None and row.limit is not None else "it has no limit"


def _number(text: str) -> Decimal:
    return Decimal(text.strip().lstrip("$").replace(",", ""))


def _wrong(text: str) -> str | None:
    try:
        value = _number(text)
    except InvalidOperation:
        return f"{text!r} is no amount"
    return None if value.is_finite() and value >= 0 else "an amount is zero or more"


def _setting(budget: "Budget", hard: Decimal | None, soft: Decimal | None) -> dict[str, Any]:
    """What sets a budget to these limits and leaves the rest of it as it is."""
    arguments: dict[str, Any] = {
        "scope": budget.scope, "key": budget.key or "-", "unit": budget.unit, "period": budget.period, "time_zone": budget.time_zone,
        "starts_on": budget.starts_on, "threshold": budget.thresholds,
    }  # fmt: skip
    arguments |= {budget.unit: hard} if hard is not None else {"no_hard": True}
    return arguments | ({"soft": soft} if soft is not None else {"no_soft": True})


async def _set(place: Place, budget: "Budget", hard: Decimal | None, soft: Decimal | None, said: str) -> None:
    app = place.app
    await app.do("budget.set", _setting(budget, hard, soft))
    app.undos.append(Undo(said, (("budget.set", _setting(budget, budget.hard, budget.soft)),)))
    app.say(said, "ok", f"{app.registry.keys_of('undo')} takes it back")


@action(
    "budget.limit",
    "+",
    scopes=("budgets",),
    footer="limit",
    order=10,
    enabled=checked(_budget, only_one),
    command="budget.set",
)
async def limit(place: Place) -> None:
    """Set another limit: it holds at once, and what waited for an increase goes on."""
    row = _line(place)
    assert row is not None
    assert row.budget is not None
    budget = row.budget
    now = "" if budget.hard is None else f"{budget.hard.normalize():f}"
    about = f"{amount(row.spent, row.unit)} spent and {amount(row.reserved, row.unit)} reserved, per {row.period}; in {row.unit}."
    text = await place.app.ask_text(f"limit of {row.kind} {row.name}", about, now, _wrong)
    if text is None or not text.strip():
        return
    hard = _number(text)
    await _set(place, budget, hard, budget.soft, f"limit of {row.name} is {amount(hard, row.unit)} per {row.period}")


@action(
    "budget.soft",
    "m",
    scopes=("budgets",),
    footer="soft limit",
    order=14,
    enabled=checked(_budget, only_one),
    command="budget.set",
)
async def soft_limit(place: Place) -> None:
    """Set from where on a person is told; it stops nothing."""
    row = _line(place)
    assert row is not None
    assert row.budget is not None
    now = "" if row.soft is None else f"{row.soft.normalize():f}"
    text = await place.app.ask_text(
        f"soft limit of {row.kind} {row.name}", f"A person is told from here on; in {row.unit}.", now, _wrong
    )
    if text is None or not text.strip():
        return
    soft = _number(text)
    await _set(
        place, row.budget, row.budget.hard, soft, f"one is told when {row.name} comes to {amount(soft, row.unit)}"
    )


@action(
    "budget.beyond",
    "=",
    scopes=("budgets",),
    footer="this once",
    order=12,
    enabled=checked(_limited, only_one),
    command="budget.override",
)
async def beyond(place: Place) -> None:
    """Let it go beyond its limit in this period only; what waited for it goes on."""
    row = _line(place)
    assert row is not None
    assert row.budget is not None
    about = f"How much more than {amount(row.limit or Decimal(0), row.unit)}, this {row.period} only; in {row.unit}."
    text = await place.app.ask_text(f"beyond the limit of {row.kind} {row.name}", about, "", _wrong)
    if text is None or not text.strip():
        return
    more = _number(text)
    found = {
        "scope": row.budget.scope,
        "key": row.budget.key or "-",
        "amount": more,
        "unit": row.unit,
        "period": row.period,
    }
    await place.app.do("budget.override", found)
    place.app.say(f"{row.name} may go {amount(more, row.unit)} beyond its limit, this {row.period} only", "ok")


def _status(*wanted: str) -> Any:
    def check(place: Place) -> str | None:
        states = {getattr(subject.row, "status", "") for subject in place.subjects}
        if not states - {""}:
            return "it is no service"
        return None if states & set(wanted) else f"the service is {', '.join(sorted(states))}"

    return check


command(
    "service.suspend", "s", scopes=("budgets",), arguments={"name": "service"}, enabled=_status("active", "down", "exhausted"),
    footer="suspend", order=20, help="Send no more calls to the service: its fallback answers; without one, runs wait.",
)  # fmt: skip
command(
    "service.resume", "r", scopes=("budgets",), arguments={"name": "service"}, enabled=_status("suspended", "down", "exhausted"),
    footer="resume", order=21, help="Send calls to the service again.",
)  # fmt: skip


async def _form(
    place: Place, name: str, title: str, *, names: Mapping[str, Sequence[tuple[str, str]]] | None = None
) -> None:
    from tui.forms import form_of
    from tui.screens.forms import FormScreen, known_of

    entry = find(name)

    result = await place.app.push_screen_wait(FormScreen(form_of(entry, title), known_of(names or {})))
    if result is not None:
        place.app.say(outcome(entry, result), "ok")


@action("budget.add", "c", scopes=HERE, footer="new limit", order=40, title="budget: add", command="budget.set")
async def add_budget(place: Place) -> None:
    """Set a limit for a service, a project, an agent, a task or the day, in a form."""
    await _form(place, "budget.set", "new limit")


@action("service.add", "A", scopes=HERE, footer="new service", order=41, title="service: add", command="service.add")
async def add_service(place: Place) -> None:
    """Add a service that costs money, in a form; its key is read from the environment, or set with `qd secret set`."""
    services = await place.app.store.ask("service.list")
    await _form(place, "service.add", "new service", names={"fallback": [(one.name, one.provider) for one in services]})


@action("service.edit", "e", scopes=("budgets",), order=42, title="service: edit", command="service.edit",
        enabled=checked(only_one, lambda place: None if place.subject and "service" in place.subject.names else "it is no service"))  # fmt: skip
async def edit_service(place: Place) -> None:
    """Change the service, in a form."""
    from tui.forms import form_of
    from tui.screens.forms import FormScreen, known_of

    assert place.subject is not None
    row = await place.app.store.ask("service.show", name=place.subject["service"])
    entry = find("service.edit")
    form = form_of(entry, f"service {row.name}", fixed={"name": row.name}, row=row)
    result = await place.app.push_screen_wait(FormScreen(form, known_of({})))
    if result is not None:
        place.app.say(outcome(entry, result), "ok")


def _removed(place: Place) -> str:
    lost = [
        f"the limit of {row.name}, {_limits(row)} per {row.period}"
        for s in place.subjects
        if isinstance(row := s.row, Line)
    ]
    return f"What holds no more: {several(lost, 10)}. The ledger stays."


def _limits(row: Line) -> str:
    return "which only counts," if row.limit is None else amount(row.limit, row.unit)


def _set_again(subject: Subject) -> tuple[str, dict[str, Any]] | None:
    budget = subject.row.budget
    return "budget.set", _setting(budget, budget.hard, budget.soft)


command(
    "budget.remove", "delete", scopes=("budgets",),
    arguments={"scope": "budget-of", "key": "budget-key", "unit": "budget-unit", "period": "budget-period"},
    enabled=_budget, loses=_removed, undo=_set_again, help="Remove the limit; the ledger stays.",
)  # fmt: skip


@action("charges.by", "w", scopes=("money",), footer="by what", order=50)
def by(place: Place) -> None:
    """Sum up what was spent by project, task, agent, model, service or day."""
    from textual.widget import Widget

    spent: SpentOn = place.screen.query_one("#spent", Widget)  # type: ignore[assignment]
    place.app.say(f"spent by {spent.next_by()}", "note")


command(
    "alert.seen", "v", scopes=("alerts",), name="budget.seen", footer="seen", order=10, title="alert: seen",
    help="Put all alerts away: they are seen.",
)  # fmt: skip


@action("charges.list", "L", scopes=("budgets", "charges"), footer="charges", order=45)
async def charges(place: Place) -> None:
    """Show the last charges of the service, project or task under the cursor."""
    from tui.giving import drawn

    names = place.subject.names if place.subject else {}
    wanted = {kind: names[kind] for kind in ("service", "project", "task") if kind in names}
    found = await place.app.store.ask("charge.list", **wanted, limit=100)
    if not found:
        place.app.say("nothing was charged to it yet", "note")
        return
    place.app.read(f"charges {' '.join(wanted.values())}", drawn(place.app, found))
