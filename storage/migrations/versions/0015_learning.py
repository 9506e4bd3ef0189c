"""What was learned from is marked; notes of engines are told from those of people; contradictions are kept."""

from storage.migrations.script import run_sql

revision = "0015"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the marks, what takes whose place, and the contradictions."""
    run_sql("0015_learning.sql")
