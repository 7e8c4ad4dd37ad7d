"""Names that people gave, contacts that can be had back for a while, and the clock that their number makes likely."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0040"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    _kinds("kind IN ('preference', 'goal', 'name')", "source IN ('stated', 'profile')")
    op.add_column("contact", sa.Column("ended_at", WHEN, nullable=True))
    op.add_column("contact", sa.Column("ended_key", sa.Text(), nullable=True))
    op.add_column("contact", sa.Column("undo_key", sa.Text(), nullable=True))
    op.create_index("ix_contact_ended", "contact", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.add_column("person", sa.Column("zone_guess", sa.Text(), nullable=True))
    op.add_column("person", sa.Column("zone_asked_at", WHEN, nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("person", "zone_asked_at")
    op.drop_column("person", "zone_guess")
    op.execute("DELETE FROM contact WHERE ended_at IS NOT NULL")
    op.drop_index("ix_contact_ended", "contact")
    for column in ("undo_key", "ended_key", "ended_at"):
        op.drop_column("contact", column)
    op.execute("DELETE FROM fact WHERE kind = 'name' OR source = 'profile'")
    _kinds("kind IN ('preference', 'goal')", "source IN ('stated')")


def _kinds(kind: str, source: str) -> None:
    for name, condition in (("kind", kind), ("source", source)):
        op.drop_constraint(op.f(f"ck_fact_{name}"), "fact", type_="check")
        op.create_check_constraint(op.f(f"ck_fact_{name}"), "fact", condition)
