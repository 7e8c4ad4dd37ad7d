"""A message may be several of the provider's, settled one by one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is settled of a message. The application's role may already use whole rows of the outbox."""
    op.add_column("outbox", sa.Column("piece", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("outbox", sa.Column("earlier_ids", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("outbox", sa.Column("doubt", sa.Text(), nullable=True))


def downgrade() -> None:
    """Messages on their way in pieces would be sent from the beginning."""
    op.drop_column("outbox", "doubt")
    op.drop_column("outbox", "earlier_ids")
    op.drop_column("outbox", "piece")
