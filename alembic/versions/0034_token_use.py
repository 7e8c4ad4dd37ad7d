"""How many tokens of language models each person used in which month."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "token_use",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("tokens >= 0", name=op.f("ck_token_use_tokens")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_token_use_person_id")),
        sa.PrimaryKeyConstraint("person_id", "month", name=op.f("pk_token_use")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON token_use TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("token_use")
