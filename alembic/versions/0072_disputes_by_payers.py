"""Whoever paid can dispute it, also what they paid from their wallet here into another one."""

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None

CHECKS = (
    ("one_payment", "num_nonnulls(instruction_id, entry_id) = 1"),
    ("told_somewhere", "num_nulls(said_by, told_in) IN (0, 2)"),
    ("entries_by_their_payers", "entry_id IS NULL OR said_by IS NOT NULL AND line_id IS NULL"),
)


def upgrade() -> None:
    """Apply."""
    op.alter_column("dispute", "instruction_id", nullable=True)
    for name, kind, to in (
        ("entry_id", sa.BigInteger(), "journal_entry"), ("said_by", sa.Uuid(), "person"),
        ("told_in", sa.Uuid(), "conversation"),
    ):  # fmt: skip
        op.add_column("dispute", sa.Column(name, kind, nullable=True))
        op.create_foreign_key(op.f(f"fk_dispute_{name}"), "dispute", to, [name], ["id"])
    op.add_column("dispute", sa.Column("words", sa.LargeBinary(), nullable=True))
    for name, rule in CHECKS:
        op.create_check_constraint(op.f(f"ck_dispute_{name}"), "dispute", rule)
    op.create_index(
        "ix_dispute_said_by", "dispute", ["said_by", "created_at"], postgresql_where=sa.text("said_by IS NOT NULL")
    )
    op.create_index(
        "uq_dispute_entry_id", "dispute", ["entry_id"], unique=True,
        postgresql_where=sa.text("entry_id IS NOT NULL AND closed_at IS NULL"),
    )  # fmt: skip
    op.execute("GRANT UPDATE (words) ON dispute TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_index("uq_dispute_entry_id", "dispute")
    op.drop_index("ix_dispute_said_by", "dispute")
    for name, _ in CHECKS:
        op.drop_constraint(op.f(f"ck_dispute_{name}"), "dispute")
    for name in ("words", "told_in", "said_by", "entry_id"):
        op.drop_column("dispute", name)
    op.alter_column("dispute", "instruction_id", nullable=False)
