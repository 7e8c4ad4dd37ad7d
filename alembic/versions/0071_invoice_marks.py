"""What was paid on an invoice outside of us, and invoices that are sent again."""

import sqlalchemy as sa
from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")
MOVES = (
    "draft>sent draft>void draft>part_paid draft>paid draft>overdue sent>part_paid sent>paid sent>overdue sent>void"
    " sent>disputed part_paid>paid part_paid>overdue part_paid>disputed overdue>paid overdue>void overdue>disputed"
    " paid>disputed disputed>sent disputed>part_paid disputed>paid disputed>overdue disputed>void"
)
BACK = "paid>part_paid paid>overdue paid>sent paid>draft part_paid>sent part_paid>draft"
LAW = """
CREATE OR REPLACE FUNCTION invoice_law() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.state <> OLD.state AND NOT OLD.state || '>' || NEW.state = ANY(string_to_array('{moves}', ' '))
       AND NOT (NEW.paid < OLD.paid AND OLD.state || '>' || NEW.state = ANY(string_to_array('{back}', ' '))) THEN
        RAISE EXCEPTION 'an invoice does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
"""Back it goes only with what is counted as paid."""
MARKED = """
CREATE FUNCTION invoice_marked() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    due bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.undone_at IS NOT NULL OR NEW.undone_at IS NULL OR (NEW.id, NEW.key, NEW.invoice_id, NEW.amount, NEW.how,
            NEW.paid_on, NEW.was, NEW.marked_by, NEW.at)
            IS DISTINCT FROM (OLD.id, OLD.key, OLD.invoice_id, OLD.amount, OLD.how, OLD.paid_on, OLD.was, OLD.marked_by, OLD.at)
        THEN
            RAISE EXCEPTION 'a mark is taken back once, and does not change' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT amount - paid INTO due FROM invoice
    WHERE id = NEW.invoice_id AND state IN ('draft', 'sent', 'part_paid', 'overdue') FOR NO KEY UPDATE;
    IF due IS NULL OR NEW.amount > due THEN
        RAISE EXCEPTION 'no more is marked as paid than is open' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "invoice_mark",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("marked_by", sa.Text(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.Column("undone_at", WHEN, nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_invoice_mark_amount")),
        sa.CheckConstraint("how IN ('cash', 'cheque', 'bank', 'mpesa', 'other')", name=op.f("ck_invoice_mark_how")),
        sa.CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name=op.f("ck_invoice_mark_undone")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_mark_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_mark")),
        sa.UniqueConstraint("key", name=op.f("uq_invoice_mark_key")),
    )
    op.create_index("ix_invoice_mark_invoice_id", "invoice_mark", ["invoice_id"])
    op.create_table(
        "invoice_resend",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.Column("sent_at", WHEN, nullable=True),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_resend_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_resend")),
        sa.UniqueConstraint("key", name=op.f("uq_invoice_resend_key")),
    )
    op.create_index("ix_invoice_resend_invoice_id", "invoice_resend", ["invoice_id"])
    op.execute(LAW.format(moves=MOVES, back=BACK))
    op.execute(MARKED)
    op.execute(
        "CREATE TRIGGER marked BEFORE INSERT OR UPDATE ON invoice_mark FOR EACH ROW EXECUTE FUNCTION invoice_marked()"
    )
    op.execute("GRANT SELECT, INSERT ON invoice_mark, invoice_resend TO mathia_app")
    op.execute("GRANT UPDATE (undone_at, undone_by) ON invoice_mark TO mathia_app")
    op.execute("GRANT UPDATE (sent_at) ON invoice_resend TO mathia_app")


def downgrade() -> None:
    """Take back."""
    for table in ("invoice_resend", "invoice_mark"):
        op.drop_table(table)
    op.execute("DROP FUNCTION invoice_marked()")
    op.execute(LAW.format(moves=MOVES, back=""))
