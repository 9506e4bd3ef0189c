"""What was learned from already."""

from storage.migrations.script import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the books of pull requests, reverts and upkeep."""
    run_sql("0008_learning.sql")
