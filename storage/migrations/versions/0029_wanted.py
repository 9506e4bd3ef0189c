"""Which model is to be used is known before it is, and how much a search may read can be said."""

from storage.migrations.script import run_sql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and replace how words are matched."""
    run_sql("0029_wanted.sql", "0029_match.sql")
