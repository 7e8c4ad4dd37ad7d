"""When a person was last reminded, and reminders that wait because that was often enough."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0020"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
RANK = "array_position('{high,normal,low}'::text[], priority)"
ACTIVE = sa.text("state = 'active'")


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("reminded_at", postgresql.ARRAY(WHEN), server_default="{}", nullable=False))
    op.add_column("person", sa.Column("deferral_told_at", WHEN, nullable=True))
    op.add_column("reminder", sa.Column("deferred_until", WHEN, nullable=True))
    op.drop_index("ix_reminder_due", "reminder")
    columns = [sa.text("coalesce(deferred_until, due_at)"), sa.text(RANK), "conversation_id"]
    op.create_index("ix_reminder_due", "reminder", columns, postgresql_where=ACTIVE)


def downgrade() -> None:
    """Take back. What was to wait is due at once."""
    op.drop_index("ix_reminder_due", "reminder")
    op.create_index("ix_reminder_due", "reminder", ["due_at"], postgresql_where=ACTIVE)
    op.drop_column("reminder", "deferred_until")
    op.drop_column("person", "deferral_told_at")
    op.drop_column("person", "reminded_at")
