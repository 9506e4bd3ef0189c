"""What is written of the traffic: nothing, unless ``gateway.log`` asks for it; never a key or a token."""

import json
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from core.knowledge.secrets import redact
from storage.queries.budget import Settlement

log = logging.getLogger(__name__)

MOST = 1_000_000
"""Bytes of a body that are written."""

_TOKEN = re.compile(r"qdr_[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}")


class Journal:
    """Appends JSON lines to a file. ``secrets`` gives every key that has been in memory."""

    def __init__(
        self, path: Path, level: Literal["nothing", "calls", "bodies"], secrets: Callable[[], Iterable[str]]
    ) -> None:
        self._path = path
        self._level = level
        self._secrets = secrets
        self._bodies: OrderedDict[UUID, bytearray] = OrderedDict()
        self._trouble = ""
        """Why it could not be written last, which is said once."""

    def sent(self, run: int, service: str, model: str, body: bytes) -> None:
        """A request leaves."""
        if self._level != "nothing":
            entry: dict[str, Any] = {
                "event": "sent",
                "run": run,
                "service": service,
                "model": model,
                "bytes": len(body),
            }
            if self._level == "bodies":
                entry["body"] = redact(body[:MOST].decode("utf-8", "replace"))
            self._write(entry)

    def passed(self, charge: UUID, chunk: bytes) -> None:
        """A part of an answer passes."""
        if self._level == "bodies":
            kept = self._bodies.setdefault(charge, bytearray())
            kept += chunk[: MOST - len(kept)]
            while len(self._bodies) > 200:
                self._bodies.popitem(last=False)

    def settled(self, run: int, settlement: Settlement) -> None:
        """A call is over."""
        if self._level != "nothing":
            entry: dict[str, Any] = {
                "event": settlement.status,
                "run": run,
                "charge": str(settlement.charge),
                "cost_micro": settlement.cost,
                "basis": settlement.basis,
                "note": settlement.note,
            }
            if body := self._bodies.pop(settlement.charge, None):
                entry["body"] = redact(body.decode("utf-8", "replace"))
            self._write(entry)

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **entry}, ensure_ascii=False)
        for secret in self._secrets():
            for form in (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret)[1:-1])[1:-1]):
                line = line.replace(form, "***")
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
                file.write(_TOKEN.sub("***", redact(line)) + "\n")
        except OSError as error:  # no call fails, and none goes unpaid, for what is written of it
            if str(error) != self._trouble:
                log.warning("the traffic cannot be written down: %s", error)
                self._trouble = str(error)
