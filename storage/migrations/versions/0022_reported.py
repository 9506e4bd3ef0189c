"""What agents tell of calls that did not pass the gateway is in the ledger."""

from storage.migrations.script import run_sql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make budget_report, and the index for whoever reports."""
    run_sql("0022_reported.sql")
