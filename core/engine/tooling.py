"""The engine's side of the crew's tools: a token for every run, and the door by which its agent reaches them."""

import asyncio
import logging
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from config.errors import QuarterdeckError
from core.budget import engine_side

if TYPE_CHECKING:
    from core.engine.runtime import Runtime
    from core.mcp.door import Door

log = logging.getLogger("qd.engine")


@dataclass(slots=True)
class Tooling:
    """One engine's dealings with the tools of its agents."""

    runtime: "Runtime"
    _door: "Door | None" = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def environment(self, run: int, token: str | None) -> dict[str, str]:
        """What the agent of a run finds in its environment: its token, made here where it has none yet, and the
        address of the tools. Empty where they cannot be offered: that is no reason not to work.
        """
        url = await self.open()
        if url is None:
            return {}
        if token is None:
            token = await self.runtime.persist(engine_side.issue_token, run)
        return {"QD_RUN_TOKEN": token, "QD_MCP_URL": url}

    async def open(self) -> str | None:
        """Open the door, if it is not; its address."""
        async with self._opening:
            if self._door is None:
                runtime = self.runtime
                module = await asyncio.to_thread(import_module, "core.mcp.door")
                door: Door = module.Door(runtime.db.dsn, runtime.paths, runtime.settings, runtime.environ)
                try:
                    await door.open()
                except (QuarterdeckError, OSError) as error:
                    log.warning("agents get no tools: %s", error)
                    await door.close()
                    return None
                self._door = door
            return self._door.url

    async def close(self) -> None:
        """Close the door; what runs finds the next engine's at the same address."""
        if self._door is not None:
            await self._door.close()
            self._door = None
