"""`qd serve`: the screen in a browser."""

from typing import Annotated

from config.errors import UsageError
from core.commands.checks import Within
from core.commands.table import Context, Metavar, command
from core.commands.values import Line
from storage.database import Role

PORT = 8741
"""Where the screen is served by itself."""


@command("serve", role=Role.VIEWER, offline=True, screen=True)
async def serve(
    ctx: Context,
    *,
    port: Annotated[int, Within(ge=0, le=65535), "Port on 127.0.0.1; 0: any that is free"] = PORT,
    public_url: Annotated[
        Line | None, "Address that the browser has, where a tunnel or a proxy stands between", Metavar("URL")
    ] = None,
    readonly: Annotated[bool, "Change nothing from there"] = False,
) -> None:
    """Offer the screen in a browser of this machine, until interrupted.

    It listens on loopback alone. Who opens the address that is printed, with its token, sits at the screen as the person who
    started this; the token is another one each time. Through a tunnel: `ssh -L 9000:127.0.0.1:8741 HOST`, and there
    `qd serve --public-url http://localhost:9000`.
    """
    del ctx, port, public_url, readonly  # the face serves: here is no screen to offer
    raise UsageError("qd serve is for a command line of its own", "run it in a terminal")
