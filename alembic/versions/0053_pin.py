"""PINs, links to the account page, and confirmations that want a PIN."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0064"
branch_labels = None
depends_on = None

FROZEN = (
    "id",
    "person_id",
    "identity_id",
    "conversation_id",
    "action",
    "params",
    "code_hash",
    "created_at",
    "expires_at",
)
SHOWN = (*FROZEN, "by_pin", "shown")


def _freeze(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{name}" for name in columns) for row in ("NEW", "OLD"))
    return f"""
CREATE OR REPLACE FUNCTION freeze_confirmation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'pending' OR ({new}) IS DISTINCT FROM ({old})
    THEN
        RAISE EXCEPTION 'a confirmation is frozen' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Apply."""
    for name in ("pin_set_at", "pin_locked_until", "pin_reset_at"):
        op.add_column("person", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("person", sa.Column("pin_hash", sa.LargeBinary(), nullable=True))
    op.add_column("person", sa.Column("pin_tries", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("confirmation", sa.Column("by_pin", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("confirmation", sa.Column("shown", sa.LargeBinary(), nullable=True))
    op.create_check_constraint(
        op.f("ck_confirmation_shown_where_by_pin"), "confirmation", "by_pin = (shown IS NOT NULL)"
    )
    op.execute(_freeze(SHOWN))
    op.create_table(
        "account_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(opened_at IS NULL) = (session_hash IS NULL)", name=op.f("ck_account_link_opened_by_a_browser")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_account_link_person_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_account_link_identity_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_account_link_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_account_link_token_hash")),
        sa.UniqueConstraint("session_hash", name=op.f("uq_account_link_session_hash")),
    )
    op.create_index("ix_account_link_person_id", "account_link", ["person_id", "created_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON account_link TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("account_link")
    op.execute(_freeze(FROZEN))
    op.drop_column("confirmation", "shown")
    op.drop_column("confirmation", "by_pin")
    for name in ("pin_tries", "pin_hash", "pin_reset_at", "pin_locked_until", "pin_set_at"):
        op.drop_column("person", name)
