"""Standing mandates: what a workflow may pay without being confirmed each time, with their laws as triggers."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)

# Every function names where it looks: whoever writes can make temporary tables, which would else be found first.
GRANTED = """
CREATE FUNCTION mandate_granted() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    workflow record;
BEGIN
    SELECT person_id, version, state INTO workflow FROM workflow_definition WHERE id = new.definition_id FOR SHARE;
    IF NOT FOUND OR workflow.state <> 'active' OR workflow.version <> new.version THEN
        RAISE EXCEPTION 'a mandate is of an active workflow, as it is now' USING ERRCODE = '23514';
    END IF;
    IF NOT EXISTS (
        SELECT FROM confirmation c WHERE c.id = new.confirmation_id AND c.state = 'used' AND c.action = 'grant_mandate'
            AND c.person_id = workflow.person_id
    ) THEN
        RAISE EXCEPTION 'a mandate rests on a used confirmation of it by the person whose workflow it is'
            USING ERRCODE = '23514';
    END IF;
    IF new.spent <> 0 OR new.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'a mandate begins live and unused' USING ERRCODE = '23514';
    END IF;
    new.created_at := clock_timestamp();
    PERFORM new.created_at AT TIME ZONE new.zone;
    RETURN new;
END $$
"""

FROZEN = """
CREATE FUNCTION mandate_frozen() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF old.ended_at IS NOT NULL
       OR to_jsonb(new) - '{spent,ended_at}'::text[] IS DISTINCT FROM to_jsonb(old) - '{spent,ended_at}'::text[]
       OR new.spent <> old.spent AND (pg_trigger_depth() < 2 OR new.ended_at IS NOT NULL)
       OR new.spent = old.spent AND new.ended_at IS NULL THEN
        RAISE EXCEPTION 'mandate % is frozen', old.id USING ERRCODE = '42501',
            HINT = 'Other terms are another mandate, which is confirmed anew.';
    END IF;
    IF new.ended_at IS NOT NULL THEN
        new.ended_at := clock_timestamp();
    END IF;
    RETURN new;
END $$
"""
"""Nothing of a mandate changes but its end, once, and what was spent, by its uses alone."""

USED = """
CREATE FUNCTION mandate_used() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    given mandate;
    today bigint;
BEGIN
    -- The workflow first, as whoever changes it does; then nobody else uses the mandate until this is over.
    PERFORM FROM workflow_definition WHERE id = (SELECT definition_id FROM mandate WHERE id = new.mandate_id) FOR SHARE;
    SELECT * INTO given FROM mandate WHERE id = new.mandate_id FOR NO KEY UPDATE;
    new.at := clock_timestamp();
    IF given.id IS NULL OR given.ended_at IS NOT NULL OR new.at >= given.until THEN
        RAISE EXCEPTION 'mandate % is over', new.mandate_id USING ERRCODE = '23514';
    END IF;
    IF NOT EXISTS (
        SELECT FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id
        WHERE r.workflow_id = new.workflow_id AND d.id = given.definition_id AND d.state = 'active'
            AND r.version = given.version AND r.finished_at IS NULL
    ) THEN
        RAISE EXCEPTION 'mandate % is used by a run of its own workflow, as that was when it was granted', given.id
            USING ERRCODE = '23514';
    END IF;
    IF new.payee = ANY (given.payees) IS NOT TRUE THEN
        RAISE EXCEPTION 'mandate % names another payee', given.id USING ERRCODE = '23514';
    END IF;
    SELECT coalesce(sum(amount), 0) INTO today FROM mandate_use
    WHERE mandate_id = given.id AND at >= date_trunc('day', new.at AT TIME ZONE given.zone) AT TIME ZONE given.zone;
    IF new.amount < 1 OR new.amount > given.max_each OR today + new.amount > given.max_per_day
       OR given.spent + new.amount > given.max_total THEN
        RAISE EXCEPTION 'mandate % allows less', given.id USING ERRCODE = '23514';
    END IF;
    UPDATE mandate SET spent = spent + new.amount WHERE id = given.id;
    RETURN new;
END $$
"""
"""A payment is within its mandate, or it is not written: whoever writes it, and however many do at once."""

KEPT = """
CREATE FUNCTION mandate_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF tg_op <> 'DELETE' OR NOT EXISTS (
        SELECT FROM mandate m JOIN workflow_definition d ON d.id = m.definition_id JOIN person p ON p.id = d.person_id
        WHERE m.id = (to_jsonb(old) ->> CASE tg_table_name WHEN 'mandate' THEN 'id' ELSE 'mandate_id' END)::bigint
            AND p.erasure_id IS NOT NULL
    ) THEN
        RAISE EXCEPTION '% of % is forbidden', tg_op, tg_table_name USING ERRCODE = '42501';
    END IF;
    RETURN old;
END $$
"""
"""What was allowed and used is neither changed nor removed, but for a person who is erased."""

EDITED = """
CREATE FUNCTION workflow_edited() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    new.version := old.version;
    IF (new.person_id, new.conversation_id, new.spec, new.cron, new.timezone)
       IS DISTINCT FROM (old.person_id, old.conversation_id, old.spec, old.cron, old.timezone) THEN
        new.version := old.version + 1;
    END IF;
    IF new.version > old.version OR new.state = 'deleted' THEN
        UPDATE mandate SET ended_at = clock_timestamp() WHERE definition_id = old.id AND ended_at IS NULL;
    END IF;
    RETURN new;
END $$
"""
"""Whoever changes a workflow, or whose it is, ends what it was allowed to pay."""

TRIGGERS = (
    "CREATE TRIGGER mandate_granted BEFORE INSERT ON mandate FOR EACH ROW EXECUTE FUNCTION mandate_granted()",
    "CREATE TRIGGER mandate_frozen BEFORE UPDATE ON mandate FOR EACH ROW EXECUTE FUNCTION mandate_frozen()",
    "CREATE TRIGGER mandate_kept BEFORE DELETE ON mandate FOR EACH ROW EXECUTE FUNCTION mandate_kept()",
    "CREATE TRIGGER mandate_used BEFORE INSERT ON mandate_use FOR EACH ROW EXECUTE FUNCTION mandate_used()",
    "CREATE TRIGGER mandate_kept BEFORE UPDATE OR DELETE ON mandate_use FOR EACH ROW EXECUTE FUNCTION mandate_kept()",
    *(
        f"CREATE TRIGGER mandate_never_emptied BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION mandate_kept()"
        for table in ("mandate", "mandate_use")
    ),
    "CREATE TRIGGER workflow_edited BEFORE UPDATE ON workflow_definition"
    " FOR EACH ROW EXECUTE FUNCTION workflow_edited()",
)


def upgrade() -> None:
    """Apply."""
    op.add_column("workflow_definition", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("workflow_run", sa.Column("version", sa.Integer(), nullable=True))
    op.create_table(
        "mandate",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("confirmation_id", sa.Uuid(), nullable=False),
        sa.Column("definition_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("payees", sa.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("max_each", sa.BigInteger(), nullable=False),
        sa.Column("max_per_day", sa.BigInteger(), nullable=False),
        sa.Column("max_total", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("until", WHEN, nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.CheckConstraint(
            "cardinality(payees) BETWEEN 1 AND 10 AND array_position(payees, NULL) IS NULL",
            name=op.f("ck_mandate_payees"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_mandate_currency")),
        sa.CheckConstraint(
            "0 < max_each AND max_each <= max_per_day AND max_per_day <= max_total", name=op.f("ck_mandate_limits")
        ),
        sa.CheckConstraint("max_total <= 9000000000000000", name=op.f("ck_mandate_max_total")),
        sa.CheckConstraint("spent BETWEEN 0 AND max_total", name=op.f("ck_mandate_spent")),
        sa.CheckConstraint("until > created_at", name=op.f("ck_mandate_until")),
        sa.ForeignKeyConstraint(["confirmation_id"], ["confirmation.id"], name=op.f("fk_mandate_confirmation_id")),
        sa.ForeignKeyConstraint(["definition_id"], ["workflow_definition.id"], name=op.f("fk_mandate_definition_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mandate")),
        sa.UniqueConstraint("confirmation_id", name=op.f("uq_mandate_confirmation_id")),
    )
    op.create_index(
        "uq_mandate_live", "mandate", ["definition_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index("ix_mandate_definition_id", "mandate", ["definition_id", "id"])
    op.create_table(
        "mandate_use",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("mandate_id", sa.BigInteger(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("payee", sa.LargeBinary(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_mandate_use_amount")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_mandate_use_key")),
        sa.ForeignKeyConstraint(["mandate_id"], ["mandate.id"], name=op.f("fk_mandate_use_mandate_id")),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflow_run.workflow_id"], name=op.f("fk_mandate_use_workflow_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_mandate_use")),
    )
    op.create_index("ix_mandate_use_mandate_id", "mandate_use", ["mandate_id", "at"])
    op.create_index("ix_mandate_use_workflow_id", "mandate_use", ["workflow_id"])
    for statement in (GRANTED, FROZEN, USED, KEPT, EDITED, *TRIGGERS):
        op.execute(statement)
    op.execute("GRANT SELECT, INSERT, UPDATE (ended_at), DELETE ON mandate TO mathia_app")
    op.execute("GRANT SELECT, INSERT, DELETE ON mandate_use TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER workflow_edited ON workflow_definition")
    op.drop_table("mandate_use")
    op.drop_table("mandate")
    for name in ("workflow_edited", "mandate_granted", "mandate_frozen", "mandate_used", "mandate_kept"):
        op.execute(f"DROP FUNCTION {name}()")
    op.drop_column("workflow_run", "version")
    op.drop_column("workflow_definition", "version")
