"""Sites can be deleted."""

from alembic import op

revision = "0027"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("GRANT DELETE ON site, site_user TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.execute("REVOKE DELETE ON site, site_user FROM mathia_app")
