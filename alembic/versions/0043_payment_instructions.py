"""Payment instructions, their timeline, and what providers hint of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0043"
down_revision = "0037"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)
MOVES = (
    "ready>failed ready>initiating initiating>failed initiating>initiated initiating>needs_review "
    "initiating>pending initiating>ready initiating>unknown initiated>approving initiated>failed "
    "initiated>needs_review approving>initiated approving>needs_review approving>submitted approving>unknown "
    "submitted>failed submitted>needs_review submitted>succeeded pending>complete pending>failed "
    "pending>needs_review pending>processing processing>complete processing>failed processing>needs_review "
    "processing>pending unknown>complete unknown>failed unknown>needs_review unknown>pending unknown>processing "
    "unknown>submitted unknown>succeeded failed>late failed>needs_review needs_review>complete "
    "needs_review>failed needs_review>succeeded"
)
MOVED = f"""
CREATE FUNCTION payment_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.state <> old.state AND NOT old.state || '>' || new.state = ANY(string_to_array('{MOVES}', ' ')) THEN
        RAISE EXCEPTION 'payment % does not go from % to %', old.reference, old.state, new.state USING ERRCODE = '23514';
    END IF;
    IF coalesce(old.tracking_id, new.tracking_id) IS DISTINCT FROM new.tracking_id
       OR coalesce(old.invoice_id, new.invoice_id) IS DISTINCT FROM new.invoice_id THEN
        RAISE EXCEPTION 'payment % has another id at the provider', old.reference USING ERRCODE = '23514';
    END IF;
    RETURN new;
END $$
"""
"""Which states follow which is ledger/instructions.MOVES; and what the provider calls it never changes."""
CHANGED = (
    "state, person_id, payee, tracking_id, invoice_id, session, receipt, attempt, tries, lease_until, due_at, hinted_at,"
    " asked_at, failing_since, done_at, settled_at"
)
"""All that ever changes of an instruction: neither its amount, nor whose it is in the books, nor its reference."""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "payment_instruction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payee", sa.LargeBinary(), nullable=True),
        sa.Column("tracking_id", sa.Text(), nullable=True),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, server_default=NOW, nullable=False),
        sa.Column("due_at", WHEN, server_default=NOW, nullable=True),
        sa.Column("hinted_at", WHEN, nullable=True),
        sa.Column("asked_at", WHEN, nullable=True),
        sa.Column("failing_since", WHEN, nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("done_at", WHEN, nullable=True),
        sa.Column("settled_at", WHEN, nullable=True),
        sa.CheckConstraint(
            "(direction = 'out') = (method = 'payout')", name=op.f("ck_payment_instruction_payouts_go_out")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_payment_instruction_currency")),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_payment_instruction_direction")),
        sa.CheckConstraint("method IN ('push', 'checkout', 'payout')", name=op.f("ck_payment_instruction_method")),
        sa.CheckConstraint(
            "state IN ('ready', 'initiating', 'initiated', 'approving', 'submitted', 'pending', 'processing', 'unknown', 'succeeded', 'complete', 'failed', 'late', 'needs_review')",
            name=op.f("ck_payment_instruction_state"),
        ),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_payment_instruction_amount")),
        sa.CheckConstraint("fee BETWEEN 0 AND amount", name=op.f("ck_payment_instruction_fee")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_payment_instruction_key")),
        sa.CheckConstraint("octet_length(request_hash) = 32", name=op.f("ck_payment_instruction_request_hash")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_payment_instruction_conversation_id")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_payment_instruction_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_instruction")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_payment_instruction_invoice_id")),
        sa.UniqueConstraint("key", name=op.f("uq_payment_instruction_key")),
        sa.UniqueConstraint("reference", name=op.f("uq_payment_instruction_reference")),
        sa.UniqueConstraint("tracking_id", name=op.f("uq_payment_instruction_tracking_id")),
    )
    op.create_index(
        "ix_payment_instruction_due",
        "payment_instruction",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_payment_instruction_person", "payment_instruction", ["person_id", "id"], unique=False)
    op.create_index(
        "ix_payment_instruction_review",
        "payment_instruction",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'needs_review'"),
    )
    op.create_index(
        "ix_payment_instruction_unsettled",
        "payment_instruction",
        ["id"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL AND state IN ('succeeded', 'complete', 'late')"),
    )
    op.create_table(
        "payment_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("instruction_id", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["instruction_id"], ["payment_instruction.id"], name=op.f("fk_payment_event_instruction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_event")),
    )
    op.create_index("ix_payment_event_instruction", "payment_event", ["instruction_id", "id"], unique=False)
    op.create_table(
        "payment_hint",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("instruction_id", sa.BigInteger(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("said_at", sa.Text(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["instruction_id"], ["payment_instruction.id"], name=op.f("fk_payment_hint_instruction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_hint")),
        sa.UniqueConstraint("ref", "state", "said_at", name=op.f("uq_payment_hint_ref_state_said_at")),
    )
    op.create_index("ix_payment_hint_instruction", "payment_hint", ["instruction_id"], unique=False)
    op.execute(MOVED)
    op.execute(
        "CREATE TRIGGER moved BEFORE UPDATE ON payment_instruction FOR EACH ROW EXECUTE FUNCTION payment_moved()"
    )
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON payment_instruction"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT ON payment_instruction, payment_event, payment_hint TO mathia_app")
    op.execute(f"GRANT UPDATE ({CHANGED}) ON payment_instruction TO mathia_app")


def downgrade() -> None:
    """Take back."""
    for table in ("payment_hint", "payment_event", "payment_instruction"):
        op.drop_table(table)
    op.execute("DROP FUNCTION payment_moved()")
