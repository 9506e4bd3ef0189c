"""`qd mcp`: the tools of the crew for a program of the person's own, on standard input and output."""

from config.errors import UsageError
from core.commands.table import Context, command
from storage.database import Role


@command("mcp", role=Role.VIEWER)
async def mcp(ctx: Context) -> None:  # noqa: ARG001 - the command line serves it itself
    """Serve the crew's tools over MCP on standard input and output, under your role.

    For a program of your own: give it `qd mcp` as the command of an MCP server. Agents of runs get the same tools by
    themselves, each for the project of its run.
    """
    raise UsageError("mcp speaks on standard input and output", "give `qd mcp` to an MCP client as its command")
