"""Shared rooms of the web: titles, roles, read marks, invitations, and messages that are not for the bot."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
INBOUND = "(direction = 'in') = (event_id IS NOT NULL AND channel IS NOT NULL AND account IS NOT NULL AND identity_id IS NOT NULL"


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("title", sa.LargeBinary(), nullable=True))
    op.add_column("member", sa.Column("role", sa.Text(), server_default="member", nullable=False))
    op.add_column("member", sa.Column("name", sa.LargeBinary(), nullable=True))
    op.add_column("member", sa.Column("read_seq", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("member", sa.Column("left_at", WHEN, nullable=True))
    op.create_check_constraint(op.f("ck_member_role"), "member", "role IN ('owner', 'member')")
    op.create_index(
        "ix_member_identity_id", "member", ["identity_id"], unique=False, postgresql_where=sa.text("left_at IS NULL")
    )
    op.create_index(
        "ix_message_reply_to",
        "message",
        ["conversation_id", "reply_to"],
        unique=False,
        postgresql_where=sa.text("reply_to IS NOT NULL"),
    )
    op.drop_constraint(op.f("ck_message_inbound_is_whole"), "message")
    op.create_check_constraint(op.f("ck_message_inbound_is_whole"), "message", f"{INBOUND})")
    op.create_table(
        "room_invitation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.Column("used_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_room_invitation_conversation_id")
        ),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_room_invitation_identity_id")),
        sa.ForeignKeyConstraint(["used_by"], ["identity.id"], name=op.f("fk_room_invitation_used_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_room_invitation_token_hash")),
    )
    op.create_index("ix_room_invitation_conversation_id", "room_invitation", ["conversation_id", "created_at"])
    op.create_index("ix_room_invitation_identity_id", "room_invitation", ["identity_id", "created_at"])
    op.create_index("ix_room_invitation_address", "room_invitation", ["address", "created_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON room_invitation TO mathia_app")


def downgrade() -> None:
    """Take back; impossible where people have said anything to one another."""
    op.drop_table("room_invitation")
    op.drop_constraint(op.f("ck_message_inbound_is_whole"), "message")
    op.create_check_constraint(op.f("ck_message_inbound_is_whole"), "message", f"{INBOUND} AND turn_id IS NOT NULL)")
    op.drop_index("ix_message_reply_to", table_name="message")
    op.drop_index("ix_member_identity_id", table_name="member")
    op.drop_constraint(op.f("ck_member_role"), "member")
    op.drop_column("member", "left_at")
    op.drop_column("member", "read_seq")
    op.drop_column("member", "name")
    op.drop_column("member", "role")
    op.drop_column("conversation", "title")
