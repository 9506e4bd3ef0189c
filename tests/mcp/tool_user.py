"""An agent that talks to the crew by its tools alone: says how far it is, asks a person, and does as it is told."""

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def use(name: str, **arguments: Any) -> str:
    """Call a tool, again while nobody answers at its address."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['QD_RUN_TOKEN']}"}
    request = urllib.request.Request(os.environ["QD_MCP_URL"], json.dumps(message).encode(), headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                result = json.load(answer)["result"]
        except (urllib.error.URLError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.05)
            continue
        if result["isError"]:
            raise SystemExit(result["content"][0]["text"])
        return str(result["content"][0]["text"])


use("report_progress", text="I have looked around", percent=10)
use("create_task", title="Paint it later", after=[])
while not (asked := json.loads(use("ask_supervisor", question="Which colour?", options=["red", "green"])))["answered"]:
    continue
Path("colour.txt").write_text(asked["answer"])
