"""An index that ends leaves alone who adds an item."""

from storage.migrations.script import run_sql

revision = "0043"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the function."""
    run_sql("0043_weigh.sql")
