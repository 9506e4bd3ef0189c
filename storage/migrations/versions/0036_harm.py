"""What does harm is told to nobody, outside callers included."""

from storage.migrations.script import run_sql

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say in one place which items do harm."""
    run_sql("0036_harm.sql")
