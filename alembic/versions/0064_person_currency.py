"""The currency that people say is theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("currency", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("person", "currency")
