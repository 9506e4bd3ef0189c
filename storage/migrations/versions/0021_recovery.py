"""What waits for a service is woken by whatever brings it, or one of its chain, back."""

from storage.migrations.script import run_sql

revision = "0021"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Remember what kind of refusal a task waits for, and replace budget_wake."""
    run_sql("0021_recovery.sql")
