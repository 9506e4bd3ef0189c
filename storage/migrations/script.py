"""Runs the SQL files of a migration: what is written by hand stays readable as SQL."""

from importlib.resources import files

from alembic import op


def run_sql(*names: str) -> None:
    """Execute files of ``storage/migrations/sql``, in order, within the migration's transaction.

    A file holds many statements, which only the simple query protocol takes: hence the driver's own connection.
    """
    connection = op.get_bind().connection
    for name in names:
        script = (files("storage.migrations") / "sql" / name).read_text()
        connection.run_async(lambda driver, script=script: driver.execute(script))
