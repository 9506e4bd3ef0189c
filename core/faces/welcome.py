"""Plain `qd`: the screen for a person at a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from config.errors import UsageError

if TYPE_CHECKING:
    from core.faces.cli import Edge


async def welcome(edge: "Edge", environ: Mapping[str, str]) -> int:
    """Show the help where there is nobody to look at a screen. Raises UsageError without a terminal."""
    raise UsageError("qd without a command opens the screen, which needs a terminal", "see `qd help`")
