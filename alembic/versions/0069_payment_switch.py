"""A switch by which staff stop payments for everybody."""

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "payment_switch",
        sa.Column("is_there", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        sa.CheckConstraint("is_there", name=op.f("ck_payment_switch_one")),
        sa.CheckConstraint(
            "(stopped_at IS NULL) = (stopped_by IS NULL)", name=op.f("ck_payment_switch_stopped_by_one")
        ),
        sa.PrimaryKeyConstraint("is_there", name=op.f("pk_payment_switch")),
    )
    op.execute("INSERT INTO payment_switch DEFAULT VALUES")
    op.execute("GRANT SELECT, INSERT, UPDATE ON payment_switch TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("payment_switch")
