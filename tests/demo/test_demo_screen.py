"""The demonstration on the screen: it plays there, says that it is one, and knows its own surroundings."""

from pathlib import Path

from config.paths import Paths
from config.settings import Settings
from core.commands.doctor import doctor
from core.commands.table import Context
from core.demo.corner import Corner, surroundings
from core.engine.identity import engine_name
from storage.database import Database
from storage.source import find_database
from tests.tui.conftest import world_environ
from tests.tui.terminal import terminal
from tests.tui.world import ANN

__all__ = ["world_environ"]


def test_it_plays_on_the_screen_and_says_what_it_is(server: Paths, world_environ: dict[str, str]) -> None:
    environ = world_environ | {"QD_HOME": str(server.state.parent)}
    with terminal(environ, "demo", size=(120, 40)) as line:
        line.wait("demo · scripted model", 90)
        line.wait("✓ completed", 90)
        assert "nothing was charged" in line.text().splitlines()[0]
        line.resize(80, 24)
        line.wait(lambda: "demo · scripted model" in line.text().splitlines()[0])
        line.send("Q")
        assert line.ended(90) == 0
    assert not list((server.state / "demo").iterdir())


async def test_its_doctor_looks_at_its_own_database_and_engine(
    server: Paths, migrated_database: str, tmp_path: Path
) -> None:
    paths = Paths(config=tmp_path / "config", state=tmp_path / "state", database=server.database)
    where = Corner(paths, migrated_database, "demo", -1)
    environ = surroundings(
        where, {"PATH": "/usr/bin:/bin", "QD_DATABASE_URL": "postgresql://mine@elsewhere/mine", "QD_HOME": "/mine"}
    )
    assert find_database(paths, environ).dsn == migrated_database
    db = await Database.open(migrated_database)
    try:
        async with db.connection() as connection:
            await connection.execute(
                """insert into engine (name, host, pid, version, max_parallel, lease_until)
                   values ($1, 'here', 1, '1', 3, clock_timestamp() + interval '1 hour')""",
                engine_name(paths.state),
            )
        found = await doctor(Context(db, ANN, paths, Settings(), environ, tmp_path), quick=True)
    finally:
        await db.close()
    said = {finding.part: finding for finding in found}
    assert said["engine"].status == "ok"
    assert "embedded" in said["database"].detail
