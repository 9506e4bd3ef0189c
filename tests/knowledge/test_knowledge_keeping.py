"""An engine keeps what is known as fresh as the repositories are, by itself."""

from pathlib import Path

import pytest

from core.knowledge import keeping
from core.knowledge.keeping import Keeping
from storage.database import Database
from tests.engine.engine_kit import git, site


def commit(repo: Path, name: str, text: str) -> str:
    (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-q", "-m", name)
    return git(repo, "rev-parse", "HEAD")


async def test_a_commit_of_the_person_is_known_without_being_asked_for(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(migrated_database) as made:
        repo = await made.project(files={"a.py": "def first_harbour():\n    pass\n"})
        host = made.host()
        await made.do("knowledge.index", project="app")
        await host.start()
        head = commit(repo, "b.py", "def second_harbour():\n    pass\n")
        await made.until(lambda: made.sql.fetchval("select head = $1 from corpus where project = 'app'", head))
        found = await made.do("knowledge.search", text="second harbour", project="app")
        assert found[0].title == "second_harbour (b.py)"
        git(repo, "rm", "-q", "a.py")
        head = commit(repo, "c.py", "")
        await made.until(lambda: made.sql.fetchval("select head = $1 from corpus where project = 'app'", head))
        assert [hit.title for hit in await made.do("knowledge.search", text="first", project="app")] == []


async def test_it_can_be_switched_off(migrated_database: str) -> None:
    async with site(migrated_database) as made:
        await made.project(files={"a.py": "def first_harbour():\n    pass\n"})
        db = await Database.open(migrated_database)
        try:
            for index, expected in (("off", 0), ("auto", 1)):
                await keeper_of(db, index).refresh(None)
                assert await made.sql.fetchval("select count(*) from memory") == expected
        finally:
            await db.close()


async def test_a_project_that_cannot_be_stored_keeps_no_other_from_being_known(migrated_database: str) -> None:
    async with site(migrated_database) as made:
        for name in ("app", "other"):
            await made.project(name, files={"a.py": f"def {name}_harbour():\n    pass\n"})
        await made.sql.execute(
            """create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end';
               create trigger refuse before insert on indexed_file for each row
                 when (new.corpus = 1) execute function refuse()"""
        )
        db = await Database.open(migrated_database)
        try:
            await keeper_of(db, "auto").refresh(None)
        finally:
            await db.close()
        assert await made.sql.fetchval("select count(*) from memory") == 1


def keeper_of(db: Database, index: str) -> Keeping:
    """As an engine has one."""
    from types import SimpleNamespace

    from config.settings import KnowledgeSettings, Settings
    from core.workspace import repository

    async def opened(path: str) -> repository.Repository:
        return await repository.open_repository(Path(path))

    runtime = SimpleNamespace(
        name="test",
        db=db,
        paths=None,
        environ={},
        settings=Settings(knowledge=KnowledgeSettings(index=index)),
        repository=opened,
        default_base=repository.default_base,
    )
    return keeping.Keeping(runtime)  # type: ignore[arg-type]
