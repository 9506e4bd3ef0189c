"""Roles, audit, queue, runs."""

from storage.migrations.script import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything that the queue and the runs stand on."""
    run_sql("0001_base.sql", "0001_queue.sql", "0001_runs.sql", "0001_reason.sql", "0001_grants.sql")
