"""What is wrong with the whole: the database or the engine is gone; and what is done about it."""

from typing import TYPE_CHECKING

from tui.actions import why_not

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


def trouble_of(app: "QuarterdeckApp") -> str:
    """What is wrong, in words; empty when nothing is."""
    if app.store.gone:
        since = app.store.as_of.astimezone().strftime("%H:%M:%S") if app.store.as_of else ""
        shown = f"this is as of {since}" if since else "nothing can be shown yet"
        why = f" ({app.store.words})" if app.size.width >= 110 else ""
        return f"the database is gone; {shown}{why}"
    if app.pulse is not None and not any(e.state in ("running", "draining") for e in app.pulse.status.engines):
        return "no engine is running: nothing will be started"
    return ""


def remedy_of(app: "QuarterdeckApp") -> str:
    """What is done about it, or which key does it."""
    if app.store.gone:
        return "connecting again"
    keys = app.registry.keys_of("engine.start")
    if not trouble_of(app) or not keys:
        return ""
    return f"{keys} starts one" if why_not(app.registry.actions["engine.start"], app.place()) is None else ""
