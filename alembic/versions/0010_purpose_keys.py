"""A key for each purpose that is no conversation's: what Temporal keeps is sealed with one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "purpose_key",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kek", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_purpose_key")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON purpose_key TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("purpose_key")
