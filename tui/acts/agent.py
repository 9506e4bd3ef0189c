"""Actions on agents."""

from typing import Any

from tui.actions import Place, command, several


def _is(status: str) -> "Any":
    def check(place: Place) -> str | None:
        states = {getattr(subject.row, "status", "") for subject in place.subjects}
        return f"it is {status} already" if states == {status} else None

    return check


command(
    "agent.enable",
    "v",
    scopes=("agents",),
    name="agent.enable",
    arguments={"name": "agent"},
    enabled=_is("enabled"),
    footer="enable",
    order=30,
    help="Let the agent work.",
)
command(
    "agent.disable",
    "V",
    scopes=("agents",),
    arguments={"name": "agent"},
    enabled=_is("disabled"),
    footer="disable",
    order=31,
    help="Give the agent no more work; what it is at goes on.",
)
command(
    "agent.remove", "delete", scopes=("agents",), arguments={"name": "agent"}, help="Remove the agent; its past runs stay.",
    loses=lambda place: f"{several((s['agent'] for s in place.subjects), 10)}: its settings and its API key are gone. Its past runs stay.",
)  # fmt: skip
