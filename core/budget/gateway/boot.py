"""What a gateway process is started with, and what it leaves where others find it; light, for the engine needs it too."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.paths import Paths
from config.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Boot:
    """All that the process needs, on its stdin: nothing of it is in its arguments or its environment."""

    dsn: str
    paths: Paths
    settings: GatewaySettings
    version: str

    @classmethod
    def from_json(cls, text: str) -> "Boot":
        """Read what :meth:`to_json` has written."""
        value: Mapping[str, Any] = json.loads(text)
        places = {name: Path(path) for name, path in value["paths"].items()}
        return cls(value["dsn"], Paths(**places), GatewaySettings(**value["settings"]), value["version"])

    def to_json(self) -> str:
        """One line."""
        places = {name: str(getattr(self.paths, name)) for name in ("config", "state", "database")}
        value = {"dsn": self.dsn, "paths": places, "settings": asdict(self.settings), "version": self.version}
        return json.dumps(value)

    def mark(self) -> str:
        """What a gateway of this program with these settings calls itself: another one is replaced."""
        settings = {
            name: float(value) if isinstance(value, int) else value  # 60 and 60.0 are the same
            for name, value in asdict(self.settings).items()
        }
        told = json.dumps([self.version, settings], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def record_file(paths: Paths) -> Path:
    """Where a gateway says that it is there, and which port it keeps."""
    return paths.state / "gateway.json"
