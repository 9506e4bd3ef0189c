"""Where a person can be: which scopes of actions there are at the same time. Two actions clash only where both can be wanted.

A place has, the nearest first, the scopes of the panel that has the keys, the kinds of things that what is under its cursor belongs to, the scopes of
the screen, and ``app``. A test opens every screen and holds this table against what is there.
"""

from functools import cache

Ground = tuple[frozenset[str], ...]
"""One place: the scopes that are equally near, the nearest first."""


def _ground(panel: str, things: str, screen: str) -> Ground:
    """A place: the scopes of its panel and of its screen one behind the other, between them all kinds of things together."""
    return (
        *(frozenset({name}) for name in panel.split()),
        frozenset(things.split()),
        *(frozenset({name}) for name in screen.split()),
    )


_WORK = "question review run task project"
GROUNDS = (
    _ground("inbox rows motion", f"{_WORK} engine", "deck"),
    _ground("projects rows motion", "project", "deck"),
    _ground("queue rows motion", "run review task project", "deck"),
    _ground("live rows motion", "run task project", "deck"),
    _ground("budgets rows motion", "service project agent task", "deck"),
    _ground("budgets rows motion", "service project agent task", "money panes"),
    _ground("charges rows motion", "service project agent task", "money panes"),
    _ground("alerts rows motion", "", "money panes"),
    _ground("page motion", "", "money panes"),
    _ground("agents rows motion", "agent", "agents"),
    _ground("settings rows motion", "setting", "settings"),
    *(_ground("audit rows motion", kind, "audit") for kind in ("task", "project", "agent", "setting")),
    _ground("doctor rows motion", "", "doctor"),
    _ground("knowledge rows motion", "", "memory-page panes"),
    _ground("uses rows motion", "run task", "memory-page panes"),
    _ground("page motion", "", "memory-page panes"),
    _ground("knew rows motion", "", "panes"),
    _ground("page motion", "", "panes"),
    _ground("diff motion", "task", "judge panes"),
    _ground("files motion", "task", "judge panes"),
    _ground("page motion", "task", "judge panes"),
    _ground("page motion", _WORK, "task-page panes"),
    _ground("graph motion", _WORK, "task-page panes"),
    _ground("log motion", _WORK, "run-screen"),
    _ground("run-tab motion", _WORK, "run-screen"),
    _ground("page motion", "", "analytics panes"),
    _ground("motion", f"{_WORK} agent service", "detail"),
)


@cache
def level(one: tuple[str, ...], other: tuple[str, ...]) -> bool | None:
    """Whether two actions with these scopes are equally near in some place where both can be wanted; None where they never meet.

    What is nearer is meant: built in, a panel may have another meaning for a key of its screen. The keys of a replay come before all others.
    """
    here, there = frozenset(one), frozenset(other)
    if ("replay" in here) != ("replay" in there):
        return None
    if here & there or "app" in here | there:
        return True
    met = [(_distance(ground, here), _distance(ground, there)) for ground in GROUNDS]
    both = [(a, b) for a, b in met if a is not None and b is not None]
    return any(a == b for a, b in both) if both else None


def _distance(ground: Ground, scopes: frozenset[str]) -> int | None:
    return next((n for n, part in enumerate(ground) if part & scopes), None)
