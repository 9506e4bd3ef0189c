"""Services, budgets, the ledger."""

from storage.migrations.script import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything that metering stands on."""
    run_sql("0002_budget.sql", "0002_ledger.sql", "0002_grants.sql")
