"""What agents may see and do by themselves."""

from storage.migrations.script import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bind agents to the project of their run."""
    run_sql("0005_agents.sql")
