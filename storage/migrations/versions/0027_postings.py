"""Search is kept in step with what is known in less time."""

from storage.migrations.script import run_sql

revision = "0027"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace how postings are made."""
    run_sql("0027_postings.sql")
