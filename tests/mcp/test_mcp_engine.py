"""A real engine serves the tools to a real run, over its own death too."""

import sys
from pathlib import Path

from tests.engine.engine_kit import git, site

USER = Path(__file__).with_name("tool_user.py")


async def test_a_run_reports_asks_and_adds_a_task_and_goes_on_with_the_next_engine(migrated_database: str) -> None:
    async with site(migrated_database) as crew:
        command = f"{sys.executable} -P {USER}"
        await crew.sql.execute("insert into agent (name, adapter, command) values ('talker', 'command', $1)", command)
        repo = await crew.project(max_parallel=1)
        host = crew.host()
        await host.start()
        task = await crew.add("Choose a colour", agent="talker")
        await crew.said(task, "I have looked around")
        asked = "select number from question where status = 'open'"
        await crew.until(lambda: crew.sql.fetchval(asked))
        await host.kill()
        await host.start()
        question = await crew.sql.fetchval(asked)
        await crew.do("question.answer", id=question, text="green")
        await crew.reaches(task, "completed")
        assert git(repo, "show", "main:colour.txt") == "green"
        [progress] = [row for row in await crew.events(task, "status") if row["text"] == "I have looked around"]
        assert progress["data"].find('"progress": 10') > 0 or '"progress":10' in progress["data"]
        assert await crew.sql.fetchval("select count(*) from question") == 1, "the same words are the same question"
        assert await crew.sql.fetchval("select count(*) from run_token where revoked_at is null") == 0
        later = await crew.sql.fetchval("select task from task_body where title = 'Paint it later'")
        assert later is not None
        await crew.do("task.cancel", task=later)
        await crew.balanced()
