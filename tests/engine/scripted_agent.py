"""An agent that does what its task's title says: steps apart by semicolons. Speaks the protocol of the adapter `command`."""

import json
import os
import sys
import time
from pathlib import Path


def say(kind: str, text: str, **data: object) -> None:
    print(json.dumps({"kind": kind, "text": text, "data": data}), flush=True)


def hear() -> dict:
    line = sys.stdin.readline()
    if not line:
        sys.exit(9)
    return json.loads(line)


def step(words: list[str]) -> None:  # noqa: C901 - one case a step
    match words:
        case ["say", *text]:
            say("message", " ".join(text))
        case ["write", name, *text]:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(" ".join(text) + "\n")
        case ["append", name, *text]:
            with Path(name).open("a") as file:
                file.write(" ".join(text) + "\n")
        case ["count", most, pause]:
            for number in range(int(most)):
                print(f"line {number}", flush=True)
                time.sleep(float(pause))
        case ["ask", *text]:
            say("question", " ".join(text), id="q1", options=["yes", "no"])
            answer = hear()
            assert answer["kind"] == "answer", answer
            Path("answer.txt").write_text(answer["text"] + "\n")
        case ["listen"]:
            heard = hear()
            Path("heard.txt").write_text(f"{heard['kind']}: {heard['text']}\n")
        case ["until", name]:
            while not Path(name).exists():
                time.sleep(0.02)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["stray"]:
            import subprocess  # late: most agents are to start quickly

            subprocess.Popen(["sleep", "600"], start_new_session=True)
        case ["env", name]:
            Path(name).write_text("\n".join(sorted(os.environ)) + "\n")
        case ["attempt", number, *rest]:
            if os.environ["QD_ATTEMPT"] == number:
                step(rest)
        case ["prompt", name]:
            Path(name).write_text(Path(os.environ["QD_PROMPT_FILE"]).read_text())
        case ["spend", usd, times]:
            for _ in range(int(times)):
                step(["spend", usd])
        case ["spend", usd]:
            say("usage", "", model="scripted", tokens={"input": 10, "output": 5}, cost_usd=float(usd))
        case ["flood", size]:
            sys.stdout.write("x" * int(size))
            sys.stdout.flush()
        case ["exit", code]:
            sys.exit(int(code))
        case _:
            raise SystemExit(f"no such step: {words}")


if __name__ == "__main__":
    for part in os.environ["QD_TASK_TITLE"].split(";"):
        if part.strip():
            step(part.split())
