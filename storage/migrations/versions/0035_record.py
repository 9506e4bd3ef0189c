"""What people say of an item is on its record, and what holds for a part of a stack holds for the whole."""

from storage.migrations.script import run_sql

revision = "0035"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace how runs credit items and what applies to a project; put votes and cold storage on the trail."""
    run_sql("0035_record.sql", "0035_stacks.sql")
