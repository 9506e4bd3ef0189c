"""What is reserved is no room, and who has newly come to stand in may answer."""

from storage.migrations.script import run_sql

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the functions."""
    run_sql("0042_room.sql")
