"""What is known for a task respects where an item applies."""

from storage.migrations.script import run_sql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say in one place where an item applies, and replace get_task_context."""
    run_sql("0016_applies.sql")
