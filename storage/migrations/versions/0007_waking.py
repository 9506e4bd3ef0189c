"""Who wakes a task that waits for its budget."""

from storage.migrations.script import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let an increase of a stand-in wake what waits for the service that it stands in for."""
    run_sql("0007_waking.sql")
