"""What a run was told, for its agent."""

from storage.migrations.script import run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let agents of a project read what its runs were told."""
    run_sql("0010_told.sql")
