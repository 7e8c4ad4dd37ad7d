"""Invoices, numbered without gaps, and what was paid against them."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0054"
branch_labels = None
depends_on = None

LAW = """
CREATE FUNCTION invoice_law() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' OR NEW.paid <> 0 THEN
            RAISE EXCEPTION 'an invoice begins as an unpaid draft' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.number, NEW.key, NEW.request_hash, NEW.currency, NEW.amount, NEW.issued_on, NEW.due_on, NEW.created_at)
       IS DISTINCT FROM
       (OLD.number, OLD.key, OLD.request_hash, OLD.currency, OLD.amount, OLD.issued_on, OLD.due_on, OLD.created_at)
    THEN
        RAISE EXCEPTION 'what an invoice is for does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'void' AND OLD.state <> 'void' AND NEW.paid > 0 THEN
        RAISE EXCEPTION 'an invoice is not void once something was paid' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('draft', 'sent'), ('draft', 'void'), ('draft', 'part_paid'), ('draft', 'paid'), ('draft', 'overdue'),
        ('sent', 'part_paid'), ('sent', 'paid'), ('sent', 'overdue'), ('sent', 'void'), ('sent', 'disputed'),
        ('part_paid', 'paid'), ('part_paid', 'overdue'), ('part_paid', 'disputed'),
        ('overdue', 'paid'), ('overdue', 'void'), ('overdue', 'disputed'), ('paid', 'disputed'),
        ('disputed', 'sent'), ('disputed', 'part_paid'), ('disputed', 'paid'), ('disputed', 'overdue'),
        ('disputed', 'void')
    ) THEN
        RAISE EXCEPTION 'an invoice does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "invoice_counter",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.CheckConstraint("last BETWEEN 1 AND 99999", name=op.f("ck_invoice_counter_last")),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_invoice_counter")),
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="draft", nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("number ~ '^INV-[0-9]{4}-[0-9]{5}$'", name=op.f("ck_invoice_number")),
        sa.CheckConstraint("octet_length(request_hash) = 32", name=op.f("ck_invoice_request_hash")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_invoice_currency")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_invoice_amount")),
        sa.CheckConstraint("paid BETWEEN 0 AND 9000000000000000", name=op.f("ck_invoice_paid")),
        sa.CheckConstraint(
            "state IN ('draft', 'sent', 'part_paid', 'paid', 'overdue', 'void', 'disputed')",
            name=op.f("ck_invoice_state"),
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'paid' THEN paid >= amount WHEN 'part_paid' THEN paid BETWEEN 1 AND amount - 1"
            " WHEN 'overdue' THEN paid < amount WHEN 'draft' THEN paid = 0"
            " WHEN 'sent' THEN paid = 0 ELSE true END",
            name=op.f("ck_invoice_state_says_what_is_paid"),
        ),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_invoice_token_hash")),
        sa.CheckConstraint("due_on >= issued_on", name=op.f("ck_invoice_due_later")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_invoice_person_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_invoice_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("number", name=op.f("uq_invoice_number")),
        sa.UniqueConstraint("key", name=op.f("uq_invoice_key")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invoice_token_hash")),
    )
    op.create_index("ix_invoice_person", "invoice", ["person_id", "id"])
    op.create_table(
        "invoice_payment",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_invoice_payment_amount")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_payment_invoice_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_invoice_payment")),
    )
    op.create_index("ix_invoice_payment_invoice_id", "invoice_payment", ["invoice_id"])
    op.add_column("payment_instruction", sa.Column("pays", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_payment_instruction_pays"), "payment_instruction", "invoice", ["pays"], ["id"])
    op.create_check_constraint(
        op.f("ck_payment_instruction_invoices_are_paid_in"),
        "payment_instruction",
        "pays IS NULL OR direction = 'in' AND kind = 'INVOICE_PAYMENT'",
    )
    op.create_index(
        "ix_payment_instruction_pays", "payment_instruction", ["pays"], postgresql_where=sa.text("pays IS NOT NULL")
    )
    op.execute(LAW)
    op.execute(
        "CREATE TRIGGER invoice_law BEFORE INSERT OR UPDATE ON invoice FOR EACH ROW EXECUTE FUNCTION invoice_law()"
    )
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON invoice"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON invoice_counter, invoice TO mathia_app")
    op.execute("GRANT SELECT, INSERT ON invoice_payment TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_column("payment_instruction", "pays")
    op.drop_table("invoice_payment")
    op.drop_table("invoice")
    op.drop_table("invoice_counter")
    op.execute("DROP FUNCTION invoice_law()")
