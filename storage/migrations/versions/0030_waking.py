"""What waits for a budget is woken by the rule that is in force for it."""

from storage.migrations.script import run_sql

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace what wakes tasks."""
    run_sql("0030_waking.sql")
