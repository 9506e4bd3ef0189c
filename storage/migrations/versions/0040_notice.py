"""Trouble that a client was passed is told of its run."""

from storage.migrations.script import run_sql

revision = "0040"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Allow the kind."""
    run_sql("0040_notice.sql")
