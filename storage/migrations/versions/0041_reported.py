"""What an agent reports counts also where its calls past the gateway were refused."""

from storage.migrations.script import run_sql

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the function."""
    run_sql("0041_reported.sql")
