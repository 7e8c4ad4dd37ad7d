"""WhatsApp's window: messages that are held, templates with their approval, and who opted out."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "template",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("provider_ref", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("variables", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="unsubmitted", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('unsubmitted', 'received', 'pending', 'approved', 'rejected', 'paused', 'disabled')",
            name=op.f("ck_template_state"),
        ),
        sa.PrimaryKeyConstraint("channel", "account", "name", "language", name=op.f("pk_template")),
    )
    op.create_table(
        "opt_out",
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("how IN ('word', 'provider')", name=op.f("ck_opt_out_how")),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_opt_out_identity_id")),
        sa.PrimaryKeyConstraint("identity_id", name=op.f("pk_opt_out")),
    )
    op.add_column("outbox", sa.Column("held_seq", sa.BigInteger(), nullable=True))
    op.add_column("outbox", sa.Column("template", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("outbox", sa.Column("past_ids", postgresql.ARRAY(sa.Text()), nullable=True))
    op.drop_constraint(op.f("ck_outbox_state"), "outbox")
    op.create_check_constraint(
        op.f("ck_outbox_state"), "outbox", "state IN ('pending', 'sending', 'sent', 'refused', 'unknown', 'held')"
    )
    op.drop_index("ix_outbox_refused", table_name="outbox")
    op.create_index(
        "ix_outbox_refused",
        "outbox",
        ["id"],
        postgresql_where=sa.text("state IN ('refused', 'held') AND followed_up_at IS NULL"),
    )
    op.create_index("ix_outbox_held", "outbox", ["conversation_id", "id"], postgresql_where=sa.text("state = 'held'"))
    op.execute("GRANT SELECT, INSERT, UPDATE ON template, opt_out TO mathia_app")


def downgrade() -> None:
    """Take back; what was held is refused."""
    op.execute("UPDATE outbox SET state = 'refused' WHERE state = 'held'")
    op.drop_index("ix_outbox_held", table_name="outbox", postgresql_where=sa.text("state = 'held'"))
    op.drop_index("ix_outbox_refused", table_name="outbox")
    op.create_index(
        "ix_outbox_refused", "outbox", ["id"], postgresql_where=sa.text("state = 'refused' AND followed_up_at IS NULL")
    )
    op.drop_constraint(op.f("ck_outbox_state"), "outbox")
    op.create_check_constraint(
        op.f("ck_outbox_state"), "outbox", "state IN ('pending', 'sending', 'sent', 'refused', 'unknown')"
    )
    op.drop_column("outbox", "past_ids")
    op.drop_column("outbox", "template")
    op.drop_column("outbox", "held_seq")
    op.drop_table("opt_out")
    op.drop_table("template")
