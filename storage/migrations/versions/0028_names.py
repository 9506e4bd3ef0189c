"""Names of files that are no UTF-8 are kept apart."""

from storage.migrations.script import run_sql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Have the indexes compared that hold such names."""
    run_sql("0028_names.sql")
