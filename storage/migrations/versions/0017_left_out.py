"""What a run was not told for want of room is written down."""

from storage.migrations.script import run_sql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    run_sql("0017_left_out.sql")
