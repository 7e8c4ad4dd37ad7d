"""Sites: how the chat looks where it is embedded, who may embed it, and who their users are."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
WHEN = sa.DateTime(timezone=True)
JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "site",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("colour", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("greeting", JSON, nullable=False),
        sa.Column("origins", JSON, nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("updated_at", WHEN, server_default=NOW, nullable=False),
        sa.CheckConstraint("position IN ('left', 'right')", name=op.f("ck_site_position")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_site")),
    )
    op.create_table(
        "site_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_site_secret_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_secret")),
    )
    op.create_index(op.f("ix_site_secret_site"), "site_secret", ["site"])
    op.create_table(
        "site_user",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("visitor_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_site_user_site")),
        sa.PrimaryKeyConstraint("site", "user_id", name=op.f("pk_site_user")),
    )
    op.add_column("web_visitor", sa.Column("user_id", sa.Text(), nullable=True))
    op.add_column("web_visitor", sa.Column("ended_at", WHEN, nullable=True))
    op.execute("GRANT SELECT, INSERT, UPDATE ON site, site_user TO mathia_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON site_secret TO mathia_app")
    op.execute(
        "INSERT INTO site (key, name, title, colour, position, greeting, origins)"
        " VALUES ('default', 'Our own pages', 'Mathia', '#0b6b4f', 'right', '{}', '[]')"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("web_visitor", "ended_at")
    op.drop_column("web_visitor", "user_id")
    op.drop_table("site_user")
    op.drop_table("site_secret")
    op.drop_table("site")
