"""Budgets without a limit."""

from storage.migrations.script import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Open accounts without a limit without a ceiling."""
    run_sql("0006_ledger.sql")
