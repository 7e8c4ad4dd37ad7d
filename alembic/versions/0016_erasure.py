"""Confirmations, and people who are erased: what confirms, what erases, and what keeps the erased from coming back."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0026"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")

FOLLOW = """
CREATE OR REPLACE FUNCTION follow_merged_person() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known record;
BEGIN
    -- The lock waits for a merge or an erasure under way, and then sees what it wrote.
    SELECT p.merged_into, p.erasure_id INTO known FROM person p WHERE p.id = NEW.person_id FOR KEY SHARE;
    IF known.erasure_id IS NOT NULL THEN
        RETURN NULL;
    END IF;
    NEW.person_id := coalesce(known.merged_into, NEW.person_id);
    RETURN NEW;
END $$
"""

FOLLOW_BEFORE = """
CREATE OR REPLACE FUNCTION follow_merged_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The lock waits for a merge under way, and then sees what it wrote.
    NEW.person_id := coalesce(
        (SELECT p.merged_into FROM person p WHERE p.id = NEW.person_id FOR KEY SHARE), NEW.person_id
    );
    RETURN NEW;
END $$
"""

STAY = """
CREATE FUNCTION stay_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name := NULL;
    NEW.language := 'en';
    NEW.timezone := NULL;
    NEW.muted_until := NULL;
    NEW.erasure_id := OLD.erasure_id;
    RETURN NEW;
END $$
"""

FREEZE = """
CREATE FUNCTION freeze_confirmation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'pending' OR (NEW.id, NEW.person_id, NEW.identity_id, NEW.conversation_id, NEW.action, NEW.params,
        NEW.code_hash, NEW.created_at, NEW.expires_at) IS DISTINCT FROM (OLD.id, OLD.person_id, OLD.identity_id,
        OLD.conversation_id, OLD.action, OLD.params, OLD.code_hash, OLD.created_at, OLD.expires_at)
    THEN
        RAISE EXCEPTION 'a confirmation is frozen' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$
"""

REMOVE_MESSAGES = """
CREATE FUNCTION remove_erased_messages(erased bigint, most bigint, with_inbound boolean) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM message WHERE id IN (
        SELECT m.id FROM conversation c JOIN message m ON m.conversation_id = c.id
        WHERE c.erasure_id = erased AND c.epoch = 0
          AND (with_inbound OR m.direction = 'out' OR m.channel IN ('web', 'email'))
        LIMIT most)
    RETURNING id
$$
"""
"""The application deletes no message: this does, for conversations that have been erased."""

FOLLOWING = ("confirmation", "moderation_flag", "mute")
"""Tables that a late write for an erased person must not reach either."""
REMOVED = (
    "reminder", "receipt", "turn", "outbox", "member", "change", "transcription", "file_fetch", "opt_out", "data_export",
    "mute", "delivery_status", "note", "site_user", "web_visitor", "workflow_definition", "workflow_run", "workflow_step",
)  # fmt: skip
"""Tables whose rows go with a person, and could not go before."""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "confirmation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("params", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.Column("used_key", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'used', 'cancelled', 'superseded', 'locked')", name=op.f("ck_confirmation_state")
        ),
        sa.CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name=op.f("ck_confirmation_ended_at_some_time")),
        sa.CheckConstraint("(state = 'used') = (used_key IS NOT NULL)", name=op.f("ck_confirmation_used_by_somebody")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_confirmation_person_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_confirmation_identity_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_confirmation_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmation")),
        sa.UniqueConstraint("used_key", name=op.f("uq_confirmation_used_key")),
    )
    op.create_index(
        "uq_confirmation_pending", "confirmation", ["person_id"], unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )  # fmt: skip
    op.create_index("ix_confirmation_identity_id", "confirmation", ["identity_id", "created_at"])
    op.create_table(
        "erasure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, server_default=NOW, nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("erased_at", WHEN, nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("room", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'told', 'watched', 'done')", name=op.f("ck_erasure_state")),
        sa.CheckConstraint(
            "room IS NULL OR state IN ('waiting', 'told')", name=op.f("ck_erasure_address_is_forgotten")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_erasure_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        sa.UniqueConstraint("person_id", name=op.f("uq_erasure_person_id")),
    )
    op.create_index("ix_erasure_unfinished", "erasure", ["lease_until"], postgresql_where=sa.text("state <> 'done'"))
    op.create_table(
        "erased_address",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("erasure_id", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasure.id"], name=op.f("fk_erased_address_erasure_id")),
        sa.PrimaryKeyConstraint("name", "erasure_id", name=op.f("pk_erased_address")),
    )
    for table in ("person", "conversation"):
        op.add_column(table, sa.Column("erasure_id", sa.BigInteger(), nullable=True))
        op.create_index(
            f"ix_{table}_erasure_id", table, ["erasure_id"], postgresql_where=sa.text("erasure_id IS NOT NULL")
        )
    op.create_check_constraint(
        op.f("ck_conversation_erased_has_no_epoch"), "conversation", "(epoch = 0) = (erasure_id IS NOT NULL)"
    )
    op.create_index("ix_member_former", "member", ["identity_id"], postgresql_where=sa.text("left_at IS NOT NULL"))
    op.create_index("ix_change_conversation_id", "change", ["conversation_id"])
    op.execute(FOLLOW)
    for table in FOLLOWING:
        op.execute(
            f"CREATE TRIGGER follow_merged_person BEFORE INSERT ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
        )
    op.execute(STAY)
    op.execute(
        "CREATE TRIGGER stay_erased BEFORE UPDATE ON person"
        " FOR EACH ROW WHEN (OLD.erasure_id IS NOT NULL) EXECUTE FUNCTION stay_erased()"
    )
    op.execute(FREEZE)
    op.execute(
        "CREATE TRIGGER freeze_confirmation BEFORE UPDATE ON confirmation"
        " FOR EACH ROW EXECUTE FUNCTION freeze_confirmation()"
    )
    op.execute(REMOVE_MESSAGES)
    op.execute("REVOKE ALL ON FUNCTION remove_erased_messages FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION remove_erased_messages TO mathia_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON confirmation, erased_address TO mathia_app")
    op.execute("GRANT SELECT, INSERT, UPDATE ON erasure TO mathia_app")
    op.execute(f"GRANT DELETE ON {', '.join(REMOVED)} TO mathia_app")


def downgrade() -> None:
    """Take back. Who was erased stays so: only what would be known of it goes."""
    op.execute(f"REVOKE DELETE ON {', '.join(REMOVED)} FROM mathia_app")
    op.execute("DROP FUNCTION remove_erased_messages")
    op.execute("DROP TRIGGER stay_erased ON person")
    op.execute("DROP FUNCTION stay_erased()")
    for table in FOLLOWING[1:]:
        op.execute(f"DROP TRIGGER follow_merged_person ON {table}")
    op.execute(FOLLOW_BEFORE)
    op.drop_index("ix_change_conversation_id", table_name="change")
    op.drop_index("ix_member_former", table_name="member", postgresql_where=sa.text("left_at IS NOT NULL"))
    op.drop_constraint(op.f("ck_conversation_erased_has_no_epoch"), "conversation")
    op.drop_table("erased_address")
    for table in ("person", "conversation"):
        op.drop_index(f"ix_{table}_erasure_id", table_name=table, postgresql_where=sa.text("erasure_id IS NOT NULL"))
        op.drop_column(table, "erasure_id")
    op.drop_table("erasure")
    op.drop_table("confirmation")
    op.execute("DROP FUNCTION freeze_confirmation()")
