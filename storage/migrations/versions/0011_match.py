"""Words are matched in floating point."""

from storage.migrations.script import run_sql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace how words are matched."""
    run_sql("0011_match.sql")
