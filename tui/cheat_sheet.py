"""The reference of keys, written from the registry: ``python -m tui.cheat_sheet`` writes ``docs/reference/keys.md``."""

from pathlib import Path

from tui.actions import Registry, registry
from tui.keymap import show_keys

HEAD = """\
# Keys

This page is made from the registry of actions. `?` shows the keys of the place that you are at, `ctrl+p` finds everything by its name.

Any key can be moved, in `keymap.toml` in the configuration folder. Keys with blanks between are pressed one after the other; `none` takes a key
away. A key that would mean two things in one place is refused when the screen starts.

```toml
[keys]
"task.cancel" = "g x"
"open.agents" = ["g a", "f2"]
"quit.now" = "none"
```
"""
NAMES = {
    "app": "Everywhere", "motion": "Moving", "rows": "In a table", "deck": "On the deck", "budgets": "On a budget", "money": "Among the budgets",
    "charges": "On what was spent", "alerts": "On alerts", "knowledge": "In the knowledge", "knew": "On what a task knew",
}  # fmt: skip


def cheat_sheet(known: Registry) -> str:
    """The page."""
    groups: dict[str, list[str]] = {}
    for entry in known.actions.values():
        keys = ", ".join(f"`{_cell(show_keys((one,)))}`" for one in known.keys[entry.id]) or "–"
        asks = " Asks first." if entry.loses else ""
        scope = entry.scopes[0] if entry.scopes else "app"
        groups.setdefault(scope, []).append(f"| {keys} | `{entry.id}` | {_cell(entry.help)}{asks} |")
    order = [*(name for name in NAMES if name in groups), *sorted(name for name in groups if name not in NAMES)]
    parts = [HEAD]
    for scope in order:
        title = NAMES.get(scope, f"With the scope {scope}")
        parts.append(
            f"## {title}\n\n| keys | action | what it does |\n|---|---|---|\n" + "\n".join(groups[scope]) + "\n"
        )
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    page = Path(__file__).resolve().parents[1] / "docs" / "reference" / "keys.md"
    page.write_text(cheat_sheet(registry()), "utf-8")
