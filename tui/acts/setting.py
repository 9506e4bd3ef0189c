"""Actions on settings: set live, checked while one types, taken back with undo."""

from collections.abc import Mapping
from typing import Any

from config.errors import QuarterdeckError, UsageError
from config.reader import check_value, parse_value
from tui.actions import Place, Subject, action, command, only_one
from tui.undoing import Undo, setting_as_it_was


def _before(subject: Subject) -> tuple[str, Mapping[str, Any]]:
    return setting_as_it_was(subject.row)


@action(
    "settings.change",
    "e",
    "enter",
    scopes=("settings",),
    footer="change",
    order=10,
    command="settings.set",
    enabled=only_one,
)
async def change(place: Place) -> None:
    """Set another value, live: engines take it up at once."""
    subject, app = place.subject, place.app
    assert subject is not None
    row = subject.row

    def check(text: str) -> str | None:
        try:
            check_value(row.key, parse_value(text))
        except (UsageError, QuarterdeckError) as error:
            return str(error.message)
        return None

    shown = "null" if row.value is None else str(row.value).lower() if isinstance(row.value, bool) else str(row.value)
    name = f"settings.set {row.key}"
    text = await app.ask_text(row.key, f"{row.help}\nBy itself: {row.default}", app.drafts.take(name) or shown, check)
    if text is None:
        return
    with app.drafts.keeping(name, text, app.registry.keys_of("settings.change")):
        result = await app.do("settings.set", {"key": row.key, "value": text})
    app.undos.append(Undo(f"setting of {row.key}", (_before(subject),)))
    app.say(f"{result.key} is {result.value}", "ok", f"{app.registry.keys_of('undo')} takes it back")


command(
    "settings.unset", "d", scopes=("settings",), arguments={"key": "setting"}, footer="default", order=11, undo=_before,
    enabled=lambda place: None if place.subject and getattr(place.subject.row, "source", "") == "database" else "it was not set live",
    help="Take back what was set live: the file's value, or the default, holds again.",
)  # fmt: skip
