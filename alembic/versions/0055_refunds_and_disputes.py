"""Payments to us can be given back, and be disputed."""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0048"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)
PAYMENT_MOVES = (
    "ready>failed ready>initiating initiating>failed initiating>initiated initiating>needs_review "
    "initiating>pending initiating>ready initiating>unknown initiated>approving initiated>failed "
    "initiated>needs_review approving>initiated approving>needs_review approving>submitted approving>unknown "
    "submitted>failed submitted>needs_review submitted>succeeded pending>complete pending>failed "
    "pending>needs_review pending>processing processing>complete processing>failed processing>needs_review "
    "processing>pending unknown>complete unknown>failed unknown>needs_review unknown>pending unknown>processing "
    "unknown>submitted unknown>succeeded failed>late failed>needs_review needs_review>complete "
    "needs_review>failed needs_review>succeeded"
)
PAYMENT_MOVED = """
CREATE OR REPLACE FUNCTION payment_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.state <> old.state AND NOT old.state || '>' || new.state = ANY(string_to_array('{moves}', ' ')) THEN
        RAISE EXCEPTION 'payment % does not go from % to %', old.reference, old.state, new.state USING ERRCODE = '23514';
    END IF;
    IF coalesce(old.tracking_id, new.tracking_id) IS DISTINCT FROM new.tracking_id
       OR coalesce(old.invoice_id, new.invoice_id) IS DISTINCT FROM new.invoice_id THEN
        RAISE EXCEPTION 'payment % has another id at the provider', old.reference USING ERRCODE = '23514';
    END IF;
    RETURN new;
END $$
"""
DISPUTE_MOVES = (
    "open>frozen open>released open>lost frozen>refunding frozen>released frozen>lost refunding>refunded"
    " refunding>frozen"
)
DISPUTE_MOVED = f"""
CREATE FUNCTION dispute_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.state <> old.state AND NOT old.state || '>' || new.state = ANY(string_to_array('{DISPUTE_MOVES}', ' ')) THEN
        RAISE EXCEPTION 'dispute % does not go from % to %', old.reference, old.state, new.state USING ERRCODE = '23514';
    END IF;
    RETURN new;
END $$
"""
"""Which states follow which is ledger/disputes.MOVES."""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "dispute",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("instruction_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("frozen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("line_id", sa.Text(), nullable=True),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("closed_at", WHEN, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'frozen', 'refunding', 'released', 'refunded', 'lost')", name=op.f("ck_dispute_state")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_dispute_currency")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_dispute_amount")),
        sa.CheckConstraint("frozen BETWEEN 0 AND amount", name=op.f("ck_dispute_frozen")),
        sa.CheckConstraint("owed BETWEEN 0 AND amount", name=op.f("ck_dispute_owed")),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (state IN ('open', 'frozen', 'refunding'))", name=op.f("ck_dispute_closed")
        ),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_dispute_key")),
        sa.ForeignKeyConstraint(["instruction_id"], ["payment_instruction.id"], name=op.f("fk_dispute_instruction_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute")),
        sa.UniqueConstraint("key", name=op.f("uq_dispute_key")),
        sa.UniqueConstraint("line_id", name=op.f("uq_dispute_line_id")),
        sa.UniqueConstraint("reference", name=op.f("uq_dispute_reference")),
    )
    op.create_index("ix_dispute_instruction_id", "dispute", ["instruction_id"])
    op.create_index("ix_dispute_waiting", "dispute", ["id"], postgresql_where=sa.text("closed_at IS NULL"))
    op.create_table(
        "dispute_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("dispute_id", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["dispute_id"], ["dispute.id"], name=op.f("fk_dispute_event_dispute_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute_event")),
    )
    op.create_index("ix_dispute_event_dispute", "dispute_event", ["dispute_id", "id"])
    op.execute(DISPUTE_MOVED)
    op.execute("CREATE TRIGGER moved BEFORE UPDATE ON dispute FOR EACH ROW EXECUTE FUNCTION dispute_moved()")
    op.execute("GRANT SELECT, INSERT ON dispute, dispute_event TO mathia_app")
    op.execute("GRANT UPDATE (state, frozen, owed, closed_at) ON dispute TO mathia_app")

    op.add_column("payment_instruction", sa.Column("refunds", sa.BigInteger(), nullable=True))
    op.add_column("payment_instruction", sa.Column("dispute_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_payment_instruction_refunds"), "payment_instruction", "payment_instruction", ["refunds"], ["id"]
    )
    op.create_foreign_key(
        op.f("fk_payment_instruction_dispute_id"), "payment_instruction", "dispute", ["dispute_id"], ["id"]
    )
    op.create_index(
        "ix_payment_instruction_refunds", "payment_instruction", ["refunds"],
        postgresql_where=sa.text("refunds IS NOT NULL"),
    )  # fmt: skip
    op.drop_constraint(op.f("ck_payment_instruction_method"), "payment_instruction")
    op.drop_constraint(op.f("ck_payment_instruction_payouts_go_out"), "payment_instruction")
    for name, rule in (
        ("method", "method IN ('push', 'checkout', 'payout', 'refund')"),
        ("payouts_go_out", "(direction = 'out') = (method IN ('payout', 'refund'))"),
        ("refunds_something", "(method = 'refund') = (refunds IS NOT NULL)"),
    ):
        op.create_check_constraint(op.f(f"ck_payment_instruction_{name}"), "payment_instruction", rule)
    op.execute(PAYMENT_MOVED.format(moves=f"{PAYMENT_MOVES} initiating>submitted"))


def downgrade() -> None:
    """Take back."""
    op.execute(PAYMENT_MOVED.format(moves=PAYMENT_MOVES))
    for name in ("method", "payouts_go_out", "refunds_something"):
        op.drop_constraint(op.f(f"ck_payment_instruction_{name}"), "payment_instruction")
    op.drop_column("payment_instruction", "dispute_id")
    op.drop_column("payment_instruction", "refunds")
    for name, rule in (
        ("method", "method IN ('push', 'checkout', 'payout')"),
        ("payouts_go_out", "(direction = 'out') = (method = 'payout')"),
    ):
        op.create_check_constraint(op.f(f"ck_payment_instruction_{name}"), "payment_instruction", rule)
    for table in ("dispute_event", "dispute"):
        op.drop_table(table)
    op.execute("DROP FUNCTION dispute_moved()")
