"""Credentials for third parties, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "credential",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("kek", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_credential_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
        sa.UniqueConstraint(
            "person_id", "kind", name=op.f("uq_credential_person_id_kind"), postgresql_nulls_not_distinct=True
        ),
    )
    op.create_index("ix_credential_kek", "credential", ["kek"])
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON credential"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON credential TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("credential")
