"""First light: people, conversations, turns, the outbox, reminders, workflows, staff; and what the app role may do."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MAKE_APP_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mathia_app') THEN
        CREATE ROLE mathia_app NOLOGIN;
        EXECUTE format('GRANT mathia_app TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'Role mathia_app is missing, and % may not make it.', current_user
        USING HINT = 'As a superuser: CREATE ROLE mathia_app LOGIN; GRANT mathia_app TO ' || quote_ident(current_user) || ';';
END $$
"""
APPEND_ONLY = "audit"
CHANGED = (
    "conversation",
    "identity",
    "member",
    "message",
    "outbox",
    "person",
    "receipt",
    "reminder",
    "staff_session",
    "turn",
    "web_visitor",
    "workflow_definition",
    "workflow_run",
    "workflow_step",
)


def upgrade() -> None:
    """Apply."""
    op.execute(MAKE_APP_ROLE)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("room", sa.Text(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
        sa.UniqueConstraint("channel", "account", "room", name=op.f("uq_conversation_channel_account_room")),
    )
    op.create_index("ix_conversation_last_at", "conversation", [sa.literal_column("last_at DESC")], unique=False)
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
    )
    op.create_table(
        "staff_session",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("staff", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('link', 'session')", name=op.f("ck_staff_session_kind")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_staff_session")),
    )
    op.create_table(
        "turn",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("intent", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'open', 'done', 'dead')", name=op.f("ck_turn_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn")),
    )
    op.create_index(
        "ix_turn_claimable", "turn", ["id"], unique=False, postgresql_where=sa.text("state IN ('waiting', 'open')")
    )
    op.create_index("ix_turn_dead", "turn", ["created_at"], unique=False, postgresql_where=sa.text("state = 'dead'"))
    op.create_index(
        "uq_turn_unfinished",
        "turn",
        ["conversation_id", "state"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'open')"),
    )
    op.create_table(
        "web_visitor",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_visitor")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_web_visitor_token_hash")),
    )
    op.create_table(
        "identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_identity_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
        sa.UniqueConstraint("channel", "account", "provider_id", name=op.f("uq_identity_channel_account_provider_id")),
    )
    op.create_index(op.f("ix_identity_person_id"), "identity", ["person_id"], unique=False)
    op.create_table(
        "receipt",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="started", nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('started', 'done', 'failed')", name=op.f("ck_receipt_state")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_receipt_conversation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_receipt_person_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_receipt")),
    )
    op.create_index(op.f("ix_receipt_person_id"), "receipt", ["person_id"], unique=False)
    op.create_table(
        "reminder",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("wall_time", sa.DateTime(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("rrule", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("priority", sa.Text(), server_default="normal", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cancel_key", sa.Text(), nullable=True),
        sa.Column("last_sent_for", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("priority IN ('low', 'normal', 'high')", name=op.f("ck_reminder_priority")),
        sa.CheckConstraint("state IN ('active', 'done', 'cancelled')", name=op.f("ck_reminder_state")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_reminder_conversation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_reminder_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder")),
        sa.UniqueConstraint("cancel_key", name=op.f("uq_reminder_cancel_key")),
        sa.UniqueConstraint("key", name=op.f("uq_reminder_key")),
    )
    op.create_index(
        "ix_reminder_due", "reminder", ["due_at"], unique=False, postgresql_where=sa.text("state = 'active'")
    )
    op.create_index(
        "ix_reminder_person",
        "reminder",
        ["person_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "workflow_definition",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("scheduled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('active', 'paused', 'deleted')", name=op.f("ck_workflow_definition_state")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_workflow_definition_conversation_id")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_workflow_definition_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_definition")),
    )
    op.create_index(op.f("ix_workflow_definition_person_id"), "workflow_definition", ["person_id"], unique=False)
    op.create_table(
        "member",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_member_conversation_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_member_identity_id")),
        sa.PrimaryKeyConstraint("conversation_id", "identity_id", name=op.f("pk_member")),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("turn_id", sa.BigInteger(), nullable=True),
        sa.Column("parts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "(direction = 'in') = (event_id IS NOT NULL AND channel IS NOT NULL AND account IS NOT NULL AND identity_id IS NOT NULL AND turn_id IS NOT NULL)",
            name=op.f("ck_message_inbound_is_whole"),
        ),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_message_direction")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("conversation_id", "seq", name=op.f("uq_message_conversation_id_seq")),
    )
    op.create_index(
        "ix_message_created_at",
        "message",
        ["created_at"],
        unique=False,
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32},
    )
    op.create_index(
        "uq_message_event",
        "message",
        ["channel", "account", "event_id"],
        unique=True,
        postgresql_where=sa.text("direction = 'in'"),
    )
    op.create_table(
        "workflow_run",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("definition_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="requested", nullable=False),
        sa.Column(
            "trigger", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('requested', 'running', 'done', 'failed')", name=op.f("ck_workflow_run_state")),
        sa.ForeignKeyConstraint(
            ["definition_id"], ["workflow_definition.id"], name=op.f("fk_workflow_run_definition_id")
        ),
        sa.PrimaryKeyConstraint("workflow_id", name=op.f("pk_workflow_run")),
    )
    op.create_index(op.f("ix_workflow_run_definition_id"), "workflow_run", ["definition_id"], unique=False)
    op.create_index(
        "ix_workflow_run_finished_at",
        "workflow_run",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_workflow_run_requested",
        "workflow_run",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'requested'"),
    )
    op.create_index(
        "ix_workflow_run_unfinished",
        "workflow_run",
        ["state"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "not_before", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("sending_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("provider_status", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("followed_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("follow_ups", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'refused', 'unknown')", name=op.f("ck_outbox_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("dedup_key", name=op.f("uq_outbox_dedup_key")),
    )
    op.create_index(
        "ix_outbox_claimable", "outbox", ["channel", "id"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "ix_outbox_failed",
        "outbox",
        ["done_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NOT NULL AND state IN ('refused', 'unknown')"),
    )
    op.create_index(
        "ix_outbox_in_doubt",
        "outbox",
        ["not_before"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL AND state IN ('sending', 'unknown')"),
    )
    op.create_index(
        "ix_outbox_provider_message_id",
        "outbox",
        ["provider_message_id"],
        unique=False,
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_refused",
        "outbox",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'refused' AND followed_up_at IS NULL"),
    )
    op.create_index(
        "ix_outbox_unfinished",
        "outbox",
        ["conversation_id", "id"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "workflow_step",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("step_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('started', 'done', 'failed', 'skipped', 'waiting')", name=op.f("ck_workflow_step_state")
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflow_run.workflow_id"], name=op.f("fk_workflow_step_workflow_id")
        ),
        sa.PrimaryKeyConstraint("workflow_id", "step_id", name=op.f("pk_workflow_step")),
    )
    op.execute("GRANT USAGE ON SCHEMA public TO mathia_app")
    op.execute(f"GRANT SELECT, INSERT ON {APPEND_ONLY} TO mathia_app")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {', '.join(CHANGED)} TO mathia_app")
    op.execute("GRANT DELETE ON staff_session TO mathia_app")
    op.execute("GRANT USAGE ON SEQUENCE message_id_seq TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("workflow_step")
    op.drop_index("ix_outbox_unfinished", table_name="outbox", postgresql_where=sa.text("done_at IS NULL"))
    op.drop_index(
        "ix_outbox_refused",
        table_name="outbox",
        postgresql_where=sa.text("state = 'refused' AND followed_up_at IS NULL"),
    )
    op.drop_index(
        "ix_outbox_provider_message_id",
        table_name="outbox",
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_outbox_in_doubt",
        table_name="outbox",
        postgresql_where=sa.text("done_at IS NULL AND state IN ('sending', 'unknown')"),
    )
    op.drop_index(
        "ix_outbox_failed",
        table_name="outbox",
        postgresql_where=sa.text("done_at IS NOT NULL AND state IN ('refused', 'unknown')"),
    )
    op.drop_index("ix_outbox_claimable", table_name="outbox", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("outbox")
    op.drop_index(
        "ix_workflow_run_unfinished", table_name="workflow_run", postgresql_where=sa.text("finished_at IS NULL")
    )
    op.drop_index(
        "ix_workflow_run_requested", table_name="workflow_run", postgresql_where=sa.text("state = 'requested'")
    )
    op.drop_index(
        "ix_workflow_run_finished_at", table_name="workflow_run", postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.drop_index(op.f("ix_workflow_run_definition_id"), table_name="workflow_run")
    op.drop_table("workflow_run")
    op.drop_index("uq_message_event", table_name="message", postgresql_where=sa.text("direction = 'in'"))
    op.drop_index(
        "ix_message_created_at", table_name="message", postgresql_using="brin", postgresql_with={"pages_per_range": 32}
    )
    op.drop_table("message")
    op.drop_table("member")
    op.drop_index(op.f("ix_workflow_definition_person_id"), table_name="workflow_definition")
    op.drop_table("workflow_definition")
    op.drop_index("ix_reminder_person", table_name="reminder", postgresql_where=sa.text("state = 'active'"))
    op.drop_index("ix_reminder_due", table_name="reminder", postgresql_where=sa.text("state = 'active'"))
    op.drop_table("reminder")
    op.drop_index(op.f("ix_receipt_person_id"), table_name="receipt")
    op.drop_table("receipt")
    op.drop_index(op.f("ix_identity_person_id"), table_name="identity")
    op.drop_table("identity")
    op.drop_table("web_visitor")
    op.drop_index("uq_turn_unfinished", table_name="turn", postgresql_where=sa.text("state IN ('waiting', 'open')"))
    op.drop_index("ix_turn_dead", table_name="turn", postgresql_where=sa.text("state = 'dead'"))
    op.drop_index("ix_turn_claimable", table_name="turn", postgresql_where=sa.text("state IN ('waiting', 'open')"))
    op.drop_table("turn")
    op.drop_table("staff_session")
    op.drop_table("person")
    op.drop_index("ix_conversation_last_at", table_name="conversation")
    op.drop_table("conversation")
    op.drop_table("audit")
