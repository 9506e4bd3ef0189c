"""An alert is of one budget, and told again when its threshold is passed anew."""

from storage.migrations.script import run_sql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Key alerts by their budget, and replace what tells them and what changes limits."""
    run_sql("0023_alerts.sql")
