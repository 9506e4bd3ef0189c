"""What the tasks of the demonstration are called, and the two shapes that most of their work has."""

from core.demo.hands import Look, Put, Scene, Shell, Step

TITLES = {
    "durations": "Add up the units of a duration",
    "records": "Read and write quoted fields",
    "amounts": "Show amounts with two places and thousands apart",
    "table": "Make table columns as wide as their cells",
    "voyages": "Measure voyages by their legs",
    "schedule": "Work out when a ship arrives",
    "report": "Report on voyages in one line each",
    "markdown": "Escape HTML and mend strong text",
    "slugs": "Take the accents off slugs",
    "template": "Decide what a missing name becomes",
    "contents": "List the headings of a text",
    "page": "Put a whole page together",
}

DECISION = "an error"
"""What the supervisor says of a name that has no value."""

CHECKED = "python3 check.py"


def mend(key: str, *steps: Step, closing: str, check: bool = True) -> Scene:
    """Mend what a test module shows: look, change, strike the module off the known failures, run the tests."""
    struck = f"rm -f known-failures/test_{key}.txt"
    checking = (Shell(CHECKED),) if check else ()
    opening = f"I look at tests/test_{key}.py first."
    return Scene(
        TITLES[key], (Look(f"tests/test_{key}.py"), *steps, Shell(struck), *checking), closing, opening=opening
    )


def add(key: str, project: str, code: str, test: str, closing: str, *, check: bool = True) -> Scene:
    """Add a module and its tests."""
    written = (Put(f"tests/test_{key}.py", test), Put(f"{project}/{key}.py", code))
    checking = (Shell(CHECKED),) if check else ()
    opening = "I write the test first, then the code."
    return Scene(TITLES[key], (Look("AGENTS.md"), *written, *checking), closing, opening=opening)
