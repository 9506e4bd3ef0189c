"""On which terms a service is asked."""

from storage.migrations.script import run_sql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say of a service whether its streams can be asked for their usage."""
    run_sql("0018_terms.sql")
