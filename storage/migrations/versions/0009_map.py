"""Definitions are found by their name."""

from storage.migrations.script import run_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the names that code defines."""
    run_sql("0009_map.sql")
