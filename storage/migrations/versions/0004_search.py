"""Search is kept in step with what is known in half the time."""

from storage.migrations.script import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace how words are split and postings are written."""
    run_sql("0004_search.sql")
