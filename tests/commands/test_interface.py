"""What scripts, agents and other people's programs hold on to: commands with their options, and the fields of JSON."""

from dataclasses import fields
from typing import Any

import pytest

from core.commands.charge import Charge
from core.commands.general import DatabaseStatus, EngineStatus, Spend, Status
from core.commands.knowledge_views import HitView
from core.commands.service import Service
from core.commands.table import NOUNS, find
from core.commands.views import EventView, RunView, TaskView
from core.faces.words import parse
from core.tasks.states import TaskStatus
from storage.queries.runs import Tokens

COMMANDS = """
up --foreground
down --stop-runs
status
doctor
demo --headless --keep
project add repo --id --name --stack --priority --base --verify* --max-parallel --auto-merge --primary --accent
project list
project show project
project edit project
project pause project
project resume project
project remove project
project sync [project]
project import file
project export [file]
task add title --project --description --priority --after* --parent --path* --agent --not-before --deadline --max-attempts --max-cost --cron
task list --project --status* --search --limit
task show task
task edit task
task cancel task
task retry task
task delete task
task priority task priority
task wait task* --timeout
run list --task --status
run show run
run logs run --follow --since --kind*
run diff run
run stop run
run pause run
run resume run
run send run text
agent add name --adapter --model --command --role --capability* --max-parallel
agent list
agent show name
agent edit name
agent enable name
agent disable name
agent remove name
agent adapters
question list
question answer question [text] --allow --deny --always
review list
review show task
review approve task
review request-changes task text
review reject task reason
service add name --provider --base-url --key-env --budget --fallback
service list
service show name
service budget name usd
service suspend name
service resume name
service remove name
charge list --service --project --task --since
knowledge add text* --file* --project --category --title --tag*
knowledge search text --project --category --limit
knowledge list
knowledge show item
knowledge edit item
knowledge delete item
knowledge index project
knowledge export file
knowledge import file
pattern add
pattern list
pattern show
pattern edit
pattern delete
decision add
decision list
decision show
decision edit
decision delete
lesson add
lesson list
lesson show
lesson edit
lesson delete
context task
learn [project] --from-prs --days
audit list --actor --since --on
settings list
settings get key
settings set key value
backup file
restore file
"""

FIELDS: list[tuple[type[Any], str]] = [
    (Status, "engine engines database tasks runs questions spend"),
    (EngineStatus, "state pid host version started_at"),
    (DatabaseStatus, "mode version url"),
    (Spend, "today_usd month_usd"),
    (
        TaskView,
        "id number project title description status priority agent parent after paths branch attempts max_attempts "
        "max_cost_usd cost_usd reason not_before deadline created_at updated_at started_at finished_at",
    ),
    (
        RunView,
        "id task attempt project agent engine status branch worktree pid session started_at finished_at exit_code "
        "verdict reason cost_usd tokens events files_changed insertions deletions",
    ),
    (Tokens, "input output cache_read cache_write"),
    (EventView, "run seq at kind text data"),
    (
        Service,
        "name provider base_url budget_usd spent_usd reserved_usd remaining_usd status fallback period_start period_end",
    ),
    (Charge, "id service project task run model kind reserved_usd cost_usd tokens status at"),
    (HitView, "id title content category project source score tags created_at"),
]


@pytest.mark.parametrize("line", COMMANDS.split("\n")[1:-1])
def test_a_command_takes_what_others_give_it(line: str) -> None:
    words = line.split()
    length = 2 if words[0] in NOUNS else 1
    entry = find(".".join(words[:length]))
    wanted = words[length:]
    positional = [word.strip("[]") for word in wanted if not word.startswith("--")]
    here = [parameter for parameter in entry.parameters if parameter.positional]
    if positional:
        assert len(here) >= len(positional), line
        assert [parameter.repeated for parameter in here[: len(positional)]] == [
            word.endswith("*") for word in positional
        ]
        required = [not word.startswith("[") for word in wanted if not word.startswith("--") and not word.endswith("*")]
        assert [one.required for one in here[: len(positional)] if not one.repeated] == required
    options = {parameter.option: parameter for parameter in entry.parameters if not parameter.positional}
    for word in wanted:
        if word.startswith("--"):
            assert word.rstrip("*") in options, line
            if word.endswith("*"):
                assert options[word.rstrip("*")].repeated


@pytest.mark.parametrize(("kind", "names"), FIELDS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_object_has_its_fields(kind: type[Any], names: str) -> None:
    assert set(names.split()) <= {field.name for field in fields(kind)}


def test_a_task_is_in_one_of_these_states() -> None:
    assert [state.value for state in TaskStatus] == (
        ["pending", "blocked", "waiting", "in_progress", "review", "completed", "failed", "cancelled"]
    )


def test_json_is_asked_for_anywhere() -> None:
    assert parse(["task", "list", "--json"]).options.json
    assert parse(["--json", "task", "list"]).options.json
