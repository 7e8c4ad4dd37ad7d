"""Numbers that changed hands, and the lasting ids that providers show behind numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "renumbering",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("was_user_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.CheckConstraint("how IN ('number', 'user_id')", name=op.f("ck_renumbering_how")),
        sa.PrimaryKeyConstraint("channel", "account", "provider_id", "event_id", name=op.f("pk_renumbering")),
    )
    op.add_column("identity", sa.Column("provider_user_id", sa.Text(), nullable=True))
    op.create_index(
        "ix_identity_provider_user_id",
        "identity",
        ["channel", "account", "provider_user_id"],
        postgresql_where=sa.text("provider_user_id IS NOT NULL"),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON renumbering TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_index(
        "ix_identity_provider_user_id",
        table_name="identity",
        postgresql_where=sa.text("provider_user_id IS NOT NULL"),
    )
    op.drop_column("identity", "provider_user_id")
    op.drop_table("renumbering")
