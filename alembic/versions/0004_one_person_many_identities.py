"""One person, many identities: link codes, confirmed e-mail addresses, contacts; rows follow a merged person."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHANGED = ("contact", "email_code", "link_code", "link_try")
OWNED = ("contact", "email_code", "receipt", "reminder", "workflow_definition")
"""Tables whose rows a turn may still write for a person who was merged while it was being answered."""

FOLLOW = """
CREATE FUNCTION follow_merged_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The lock waits for a merge under way, and then sees what it wrote.
    NEW.person_id := coalesce(
        (SELECT p.merged_into FROM person p WHERE p.id = NEW.person_id FOR KEY SHARE), NEW.person_id
    );
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_person_merged_into"), "person", "person", ["merged_into"], ["id"])
    op.create_index(
        "ix_person_merged_into", "person", ["merged_into"], unique=False,
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )  # fmt: skip
    op.add_column("identity", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("identity", sa.Column("conversation_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_identity_conversation_id"), "identity", "conversation", ["conversation_id"], ["id"])
    op.create_table(
        "link_code",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_link_code_identity_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_link_code_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_link_code_code_hash")),
        sa.UniqueConstraint("used_key", name=op.f("uq_link_code_used_key")),
    )
    op.create_index(op.f("ix_link_code_identity_id"), "link_code", ["identity_id"], unique=False)
    op.create_table(
        "link_try",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_link_try_identity_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_link_try")),
    )
    op.create_index("ix_link_try_identity_id", "link_try", ["identity_id", "at"], unique=False)
    op.create_table(
        "email_code",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("used_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_email_code_person_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_email_code_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_code")),
        sa.UniqueConstraint("key", name=op.f("uq_email_code_key")),
        sa.UniqueConstraint("used_key", name=op.f("uq_email_code_used_key")),
    )
    op.create_index(op.f("ix_email_code_address"), "email_code", ["address"], unique=False)
    op.create_index("ix_email_code_person_id", "email_code", ["person_id", "created_at"], unique=False)
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_contact_person_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_contact_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        sa.UniqueConstraint("person_id", "name_key", name=op.f("uq_contact_person_id_name_key")),
    )
    op.execute(FOLLOW)
    for table in OWNED:
        op.execute(
            f"CREATE TRIGGER follow_merged_person BEFORE INSERT ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
        )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(CHANGED)} TO mathia_app")


def downgrade() -> None:
    """Take back."""
    for table in OWNED:
        op.execute(f"DROP TRIGGER follow_merged_person ON {table}")
    op.execute("DROP FUNCTION follow_merged_person()")
    op.drop_table("contact")
    op.drop_table("email_code")
    op.drop_table("link_try")
    op.drop_table("link_code")
    op.drop_constraint(op.f("fk_identity_conversation_id"), "identity", type_="foreignkey")
    op.drop_column("identity", "conversation_id")
    op.drop_column("identity", "verified_at")
    op.drop_index("ix_person_merged_into", table_name="person", postgresql_where=sa.text("merged_into IS NOT NULL"))
    op.drop_constraint(op.f("fk_person_merged_into"), "person", type_="foreignkey")
    op.drop_column("person", "merged_into")
