"""Where invoices go, when they are next looked at, and those that come round again."""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0056"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "invoice_series",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("mail_to", sa.Uuid(), nullable=True),
        sa.Column("whatsapp_to", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("due_days", sa.Integer(), nullable=True),
        sa.Column("rrule", sa.Text(), nullable=False),
        sa.Column("wall_time", sa.DateTime(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", WHEN, nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_invoice_series_currency")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_invoice_series_amount")),
        sa.CheckConstraint("due_days BETWEEN 0 AND 400", name=op.f("ck_invoice_series_due_days")),
        sa.CheckConstraint("ended_at IS NULL OR due_at IS NULL", name=op.f("ck_invoice_series_ended")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_invoice_series_person_id")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_invoice_series_conversation_id")
        ),
        sa.ForeignKeyConstraint(["mail_to"], ["conversation.id"], name=op.f("fk_invoice_series_mail_to")),
        sa.ForeignKeyConstraint(["whatsapp_to"], ["conversation.id"], name=op.f("fk_invoice_series_whatsapp_to")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_series")),
        sa.UniqueConstraint("key", name=op.f("uq_invoice_series_key")),
    )
    op.create_index("ix_invoice_series_person", "invoice_series", ["person_id", "id"])
    op.create_index(
        "ix_invoice_series_due", "invoice_series", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON invoice_series"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON invoice_series TO mathia_app")
    op.add_column("invoice", sa.Column("series_id", sa.BigInteger(), nullable=True))
    op.add_column("invoice", sa.Column("mail_to", sa.Uuid(), nullable=True))
    op.add_column("invoice", sa.Column("whatsapp_to", sa.Uuid(), nullable=True))
    op.add_column("invoice", sa.Column("due_at", WHEN, nullable=True))
    op.add_column("invoice", sa.Column("lease_until", WHEN, server_default=NOW, nullable=False))
    op.add_column("invoice", sa.Column("attempt", sa.Integer(), server_default="0", nullable=False))
    op.add_column("invoice", sa.Column("reminded", sa.Integer(), server_default="0", nullable=False))
    op.create_foreign_key(op.f("fk_invoice_series_id"), "invoice", "invoice_series", ["series_id"], ["id"])
    op.create_foreign_key(op.f("fk_invoice_mail_to"), "invoice", "conversation", ["mail_to"], ["id"])
    op.create_foreign_key(op.f("fk_invoice_whatsapp_to"), "invoice", "conversation", ["whatsapp_to"], ["id"])
    op.create_index("ix_invoice_due", "invoice", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_invoice_mail_to", "invoice", ["mail_to"], postgresql_where=sa.text("mail_to IS NOT NULL"))
    op.create_index(
        "ix_invoice_whatsapp_to", "invoice", ["whatsapp_to"], postgresql_where=sa.text("whatsapp_to IS NOT NULL")
    )


def downgrade() -> None:
    """Take back."""
    for column in ("series_id", "mail_to", "whatsapp_to", "due_at", "lease_until", "attempt", "reminded"):
        op.drop_column("invoice", column)
    op.drop_table("invoice_series")
