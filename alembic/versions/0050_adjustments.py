"""Corrections by hand: proposed by one of the staff, above a limit approved by another, never changed."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0060"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)
DECIDED = """
CREATE FUNCTION adjustment_decided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.state <> 'proposed' THEN
        RAISE EXCEPTION 'adjustment % is decided', old.id USING ERRCODE = '23514';
    END IF;
    IF (new.key, new.reverses, new.debit_account, new.credit_account, new.currency, new.amount, new.reason, new.alone,
        new.proposed_by, new.proposed_at, new.expires_at) IS DISTINCT FROM
       (old.key, old.reverses, old.debit_account, old.credit_account, old.currency, old.amount, old.reason, old.alone,
        old.proposed_by, old.proposed_at, old.expires_at) THEN
        RAISE EXCEPTION 'adjustment % cannot be changed', old.id USING ERRCODE = '23514';
    END IF;
    RETURN new;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "adjustment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("debit_account", sa.Text(), nullable=True),
        sa.Column("credit_account", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), server_default="proposed", nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", WHEN, nullable=True),
        sa.Column("entry_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('proposed', 'posted', 'refused')", name=op.f("ck_adjustment_state")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_adjustment_amount")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_adjustment_key")),
        sa.CheckConstraint("length(reason) BETWEEN 1 AND 500", name=op.f("ck_adjustment_reason")),
        sa.CheckConstraint(
            "num_nonnulls(debit_account, credit_account) = CASE WHEN reverses IS NULL THEN 2 ELSE 0 END",
            name=op.f("ck_adjustment_one_thing"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(decided_by, decided_at) = CASE WHEN state = 'proposed' THEN 0 ELSE 2 END",
            name=op.f("ck_adjustment_decided"),
        ),
        sa.CheckConstraint(
            "(state = 'posted') = (entry_id IS NOT NULL)", name=op.f("ck_adjustment_posted_is_an_entry")
        ),
        sa.CheckConstraint(
            "state <> 'posted' OR alone OR decided_by <> proposed_by", name=op.f("ck_adjustment_four_eyes")
        ),
        sa.ForeignKeyConstraint(["entry_id"], ["journal_entry.id"], name=op.f("fk_adjustment_entry_id")),
        sa.ForeignKeyConstraint(["reverses"], ["journal_entry.id"], name=op.f("fk_adjustment_reverses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjustment")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_adjustment_entry_id")),
        sa.UniqueConstraint("key", name=op.f("uq_adjustment_key")),
    )
    op.create_index("ix_adjustment_waiting", "adjustment", ["id"], postgresql_where=sa.text("state = 'proposed'"))
    op.execute(DECIDED)
    op.execute("CREATE TRIGGER decided BEFORE UPDATE ON adjustment FOR EACH ROW EXECUTE FUNCTION adjustment_decided()")
    op.execute("GRANT SELECT, INSERT ON adjustment TO mathia_app")
    op.execute("GRANT UPDATE (state, decided_by, decided_at, entry_id) ON adjustment TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("adjustment")
    op.execute("DROP FUNCTION adjustment_decided()")
