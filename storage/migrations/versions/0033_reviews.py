"""The reviews of a task are found without looking at all others."""

from storage.migrations.script import run_sql

revision = "0033"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    run_sql("0033_reviews.sql")
