"""Voice notes are counted: whose they are, on which of their days, and how long they play."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("transcription", sa.Column("identity_id", sa.Uuid(), nullable=True))
    op.add_column("transcription", sa.Column("day", sa.Date(), nullable=True))
    op.add_column("transcription", sa.Column("seconds", sa.Integer(), nullable=True))
    op.create_foreign_key(op.f("fk_transcription_identity_id"), "transcription", "identity", ["identity_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_transcription_counted_whole"), "transcription", "(day IS NULL) = (seconds IS NULL)"
    )
    op.create_index(
        "ix_transcription_counted", "transcription", ["identity_id", "day"], postgresql_where=sa.text("day IS NOT NULL")
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_transcription_counted", "transcription")
    op.drop_constraint(op.f("ck_transcription_counted_whole"), "transcription")
    op.drop_constraint(op.f("fk_transcription_identity_id"), "transcription")
    op.drop_column("transcription", "seconds")
    op.drop_column("transcription", "day")
    op.drop_column("transcription", "identity_id")
