"""Every command in the README and in docs/ is run, in the order in which a reader would type them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\S*)[ \t]*(\S*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "reference" not in path.parts and any(kind == "sh" for kind, _, _ in BLOCK.findall(path.read_text()))
)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_do_what_it_says(document: Path, home: Path) -> None:
    scripts = [text for kind, mark, text in BLOCK.findall(document.read_text()) if kind == "sh" and mark != "make"]
    repository = home / "harbour"
    repository.mkdir()
    (repository / "check.py").write_text("print('all is well')\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("QD_")}
    env |= {"QD_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    git = "git init -q -b main && git add -A && git -c user.name=p -c user.email=p@x commit -q -m first\n"
    try:
        done = subprocess.run(
            ["sh", "-eux", "-c", git + "\n".join(scripts)],
            cwd=repository,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stdout + done.stderr
    finally:
        subprocess.run(["qd", "down", "--stop-runs"], env=env, capture_output=True, timeout=60, check=False)


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)`?", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
