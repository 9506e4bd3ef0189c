"""What the crew knows."""

from storage.migrations.script import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the memories, their search and what is told to runs."""
    run_sql("0003_knowledge.sql", "0003_search.sql", "0003_views.sql", "0003_grants.sql")
