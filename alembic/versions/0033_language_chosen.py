"""Whether a person said which language to speak, or is spoken with in the one they last wrote in."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("language_chosen", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute(
        "UPDATE person p SET language_chosen = true WHERE EXISTS"
        " (SELECT FROM receipt r WHERE r.person_id = p.id AND r.action = 'set_language' AND r.state = 'done')"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("person", "language_chosen")
