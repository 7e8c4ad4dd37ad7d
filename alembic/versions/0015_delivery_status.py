"""When each piece of a message came so far, as its provider says."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "delivery_status",
        sa.Column("outbox_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("piece", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("outbox_id", "attempt", "piece", "status", name=op.f("pk_delivery_status")),
    )
    op.execute("GRANT SELECT, INSERT ON delivery_status TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("delivery_status")
