"""The ledger: accounts, journal entries, postings and holds, with their laws as triggers and constraints."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0031"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)

SIDE = """
CREATE FUNCTION ledger_side(type text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN type IN ('ASSET', 'EXPENSE') THEN 1 ELSE -1 END
$$
"""
"""1 where debits make an account of the type more, -1 where credits do."""

# Every function names where it looks: whoever writes can make temporary tables, which would else be found first.
POSTED = """
CREATE FUNCTION ledger_posted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
    moved bigint;
    accounts bigint;
BEGIN
    -- A leg moves something, so that one alone does not balance.
    SELECT entry_id, currency INTO wrong FROM fresh GROUP BY entry_id, currency HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % does not balance in %', wrong.entry_id, wrong.currency USING ERRCODE = '23514';
    END IF;
    SELECT entry_id, legs INTO wrong
    FROM (SELECT entry_id, count(*) AS legs FROM fresh GROUP BY entry_id) written
    WHERE legs <> (SELECT count(*) FROM posting p WHERE p.entry_id = written.entry_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % is sealed', wrong.entry_id USING ERRCODE = '23514',
            HINT = 'An entry and all its postings, at least two, are written by one statement.';
    END IF;
    SELECT f.account_id, f.account_seq INTO wrong
    FROM fresh f JOIN account a ON a.id = f.account_id
    LEFT JOIN posting before ON before.account_id = f.account_id AND before.account_seq = f.account_seq - 1
    WHERE f.balance_after <> coalesce(before.balance_after, 0) + ledger_side(a.type) * f.amount
       OR f.at < coalesce(before.at, f.at)
       OR (before.account_id IS NULL) <> (f.account_seq = 1)
       OR NOT a.allow_negative AND f.balance_after < a.pending_out LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting % of account % overdraws it, or does not follow the one before', wrong.account_seq, wrong.account_id
            USING ERRCODE = '23514';
    END IF;
    WITH sums AS (
        SELECT account_id, currency, sum(amount)::bigint AS amount, count(*) AS postings, min(account_seq) AS first,
               max(at) AS at
        FROM fresh GROUP BY account_id, currency
    ), applied AS (
        UPDATE account a
        SET posted = a.posted + ledger_side(a.type) * s.amount, seq = a.seq + s.postings, moved_at = greatest(a.moved_at, s.at)
        FROM sums s WHERE a.id = s.account_id AND a.currency = s.currency AND s.first = a.seq + 1
        RETURNING a.id
    )
    SELECT (SELECT count(*) FROM applied), (SELECT count(*) FROM sums) INTO moved, accounts;
    IF moved <> accounts THEN
        RAISE EXCEPTION 'a posting does not follow the newest one of its account' USING ERRCODE = '23514';
    END IF;
    RETURN NULL;
END $$
"""
"""After postings were written: they balance, they are whole entries, and they move their accounts on."""

WRITTEN = """
CREATE FUNCTION ledger_entries_written() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    SELECT id INTO wrong FROM fresh WHERE NOT EXISTS (SELECT FROM posting p WHERE p.entry_id = fresh.id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % has no postings', wrong.id USING ERRCODE = '23514',
            HINT = 'An entry and all its postings, at least two, are written by one statement.';
    END IF;
    SELECT key INTO wrong FROM fresh WHERE EXISTS (SELECT FROM refused_entry r WHERE r.key = fresh.key) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % was refused before', wrong.key USING ERRCODE = '23505';
    END IF;
    IF NOT EXISTS (SELECT FROM fresh WHERE reverses IS NOT NULL OR settles IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    SELECT id INTO wrong FROM fresh WHERE reverses IS NOT NULL AND (
        EXISTS (SELECT FROM journal_entry o WHERE o.id = fresh.reverses AND o.reverses IS NOT NULL)
        OR EXISTS (
            SELECT FROM (SELECT account_id, amount FROM posting WHERE entry_id = fresh.reverses) was
            FULL JOIN (SELECT account_id, amount FROM posting WHERE entry_id = fresh.id) undone USING (account_id)
            WHERE was.amount IS DISTINCT FROM -undone.amount
        )
    ) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % is not the reverse of what it reverses', wrong.id USING ERRCODE = '23514';
    END IF;
    SELECT f.id INTO wrong FROM fresh f WHERE f.settles IS NOT NULL
        AND NOT EXISTS (SELECT FROM hold h WHERE h.key = f.settles AND h.entry_id = f.id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal entry % settles a hold that it did not post', wrong.id USING ERRCODE = '23514';
    END IF;
    RETURN NULL;
END $$
"""
"""After entries were written: each has its postings and was not refused; a reversal undoes exactly what it reverses."""

HOLD_MOVED = """
CREATE FUNCTION ledger_hold_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        IF new.state <> 'open' THEN
            RAISE EXCEPTION 'a hold begins open' USING ERRCODE = '23514';
        END IF;
        UPDATE account SET pending_out = pending_out + new.amount WHERE id = new.account_id;
        RETURN new;
    END IF;
    IF old.state <> 'open' OR new.state = 'open'
       OR (new.id, new.key, new.account_id, new.amount, new.expires_at, new.created_at)
          IS DISTINCT FROM (old.id, old.key, old.account_id, old.amount, old.expires_at, old.created_at) THEN
        RAISE EXCEPTION 'hold % is resolved, or would be another one', old.id USING ERRCODE = '42501';
    END IF;
    IF new.state = 'expired' AND (old.expires_at IS NULL OR old.expires_at > clock_timestamp())
       OR new.state = 'posted' AND old.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'hold % is not % at this time', old.id, new.state USING ERRCODE = '23514';
    END IF;
    new.resolved_at := clock_timestamp();
    UPDATE account SET pending_out = pending_out - old.amount WHERE id = old.account_id;
    RETURN new;
END $$
"""
"""A hold is placed or resolved: at most once, in its time, and its account keeps back as much."""

HOLD_POSTED = """
CREATE FUNCTION ledger_hold_posted() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM posting p JOIN account a ON a.id = p.account_id JOIN journal_entry e ON e.id = p.entry_id
        WHERE p.entry_id = new.entry_id AND p.account_id = new.account_id AND e.settles = new.key
          AND -ledger_side(a.type) * p.amount BETWEEN 1 AND new.amount
    ) THEN
        RAISE EXCEPTION 'hold % is posted by an entry that takes nothing, or more than it held', new.id
            USING ERRCODE = '23514';
    END IF;
    RETURN NULL;
END $$
"""

FORBIDDEN = """
CREATE FUNCTION ledger_forbidden() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is forbidden', tg_op, tg_table_name USING ERRCODE = '42501',
        HINT = 'The books are never changed; a mistake is reversed by another entry.';
END $$
"""

TRIGGERS = (
    "CREATE TRIGGER ledger_posted AFTER INSERT ON posting REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_posted()",
    "CREATE TRIGGER ledger_entries_written AFTER INSERT ON journal_entry REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_written()",
    "CREATE TRIGGER ledger_hold_moved BEFORE INSERT OR UPDATE ON hold"
    " FOR EACH ROW EXECUTE FUNCTION ledger_hold_moved()",
    "CREATE CONSTRAINT TRIGGER ledger_hold_posted AFTER UPDATE ON hold DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW WHEN (new.state = 'posted') EXECUTE FUNCTION ledger_hold_posted()",
    *(
        f"CREATE TRIGGER ledger_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_forbidden()"
        for table in ("journal_entry", "posting", "refused_entry")
    ),
    "CREATE TRIGGER ledger_never_changed BEFORE DELETE OR TRUNCATE ON hold"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_forbidden()",
    "CREATE TRIGGER ledger_never_changed BEFORE DELETE OR TRUNCATE ON account"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_forbidden()",
    # Postings and holds move it, from inside their triggers; nobody else does.
    "CREATE TRIGGER ledger_moved_by_postings BEFORE UPDATE ON account"
    " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger_forbidden()",
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("allow_negative", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("posted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pending_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("moved_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "NOT (allow_negative AND type = 'LIABILITY')", name=op.f("ck_account_owed_is_never_negative")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_account_currency")),
        sa.CheckConstraint(
            "type IN ('ASSET', 'LIABILITY', 'EQUITY', 'INCOME', 'EXPENSE')", name=op.f("ck_account_type")
        ),
        sa.CheckConstraint("allow_negative OR posted - pending_out >= 0", name=op.f("ck_account_overdraft")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_account_key")),
        sa.CheckConstraint("pending_out >= 0", name=op.f("ck_account_pending_out")),
        sa.CheckConstraint("posted BETWEEN -9000000000000000 AND 9000000000000000", name=op.f("ck_account_posted")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("id", "currency", name=op.f("uq_account_id_currency")),
        sa.UniqueConstraint("key", name=op.f("uq_account_key")),
    )
    op.create_index(
        "ix_account_owner", "account", ["owner"], unique=False, postgresql_where=sa.text("owner IS NOT NULL")
    )
    op.create_table(
        "journal_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.Column("occurred_at", WHEN, nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("settles", sa.Text(), nullable=True),
        sa.Column("rate", sa.Numeric(), nullable=True),
        sa.Column("rate_pair", sa.Text(), nullable=True),
        sa.Column("rate_source", sa.Text(), nullable=True),
        sa.Column("rated_at", WHEN, nullable=True),
        sa.CheckConstraint("(kind = 'REVERSAL') = (reverses IS NOT NULL)", name=op.f("ck_journal_entry_reversal")),
        sa.CheckConstraint(
            "kind IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'INVOICE_PAYMENT', 'FEE', 'REFUND', 'DISPUTE_FREEZE', 'DISPUTE_RELEASE', 'REVERSAL')",
            name=op.f("ck_journal_entry_kind"),
        ),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_journal_entry_key")),
        sa.CheckConstraint("length(reference) <= 200", name=op.f("ck_journal_entry_reference")),
        sa.CheckConstraint(
            "num_nulls(rate, rate_pair, rate_source, rated_at) IN (0, 4) AND rate > 0",
            name=op.f("ck_journal_entry_rate"),
        ),
        sa.CheckConstraint("octet_length(request_hash) = 32", name=op.f("ck_journal_entry_request_hash")),
        sa.ForeignKeyConstraint(["reverses"], ["journal_entry.id"], name=op.f("fk_journal_entry_reverses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal_entry")),
        sa.UniqueConstraint("key", name=op.f("uq_journal_entry_key")),
    )
    op.create_index(
        "uq_journal_entry_reverses",
        "journal_entry",
        ["reverses"],
        unique=True,
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )
    op.create_table(
        "refused_entry",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", WHEN, server_default=NOW, nullable=False),
        sa.CheckConstraint("reason IN ('insufficient_funds', 'balance_limit')", name=op.f("ck_refused_entry_reason")),
        sa.CheckConstraint("octet_length(request_hash) = 32", name=op.f("ck_refused_entry_request_hash")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_refused_entry")),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("expires_at", WHEN, nullable=True),
        sa.Column("entry_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("resolved_at", WHEN, nullable=True),
        sa.CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name=op.f("ck_hold_resolved_once")),
        sa.CheckConstraint("(state = 'posted') = (entry_id IS NOT NULL)", name=op.f("ck_hold_posted_is_an_entry")),
        sa.CheckConstraint("state IN ('open', 'posted', 'voided', 'expired')", name=op.f("ck_hold_state")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9000000000000000", name=op.f("ck_hold_amount")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name=op.f("ck_hold_key")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_hold_account_id")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["journal_entry.id"], name=op.f("fk_hold_entry_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_hold_entry_id")),
        sa.UniqueConstraint("key", name=op.f("uq_hold_key")),
    )
    op.create_index(
        "ix_hold_account_id", "hold", ["account_id"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        "ix_hold_expires_at",
        "hold",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open' AND expires_at IS NOT NULL"),
    )
    op.create_table(
        "posting",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("account_seq", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.CheckConstraint(
            "amount <> 0 AND amount BETWEEN -9000000000000000 AND 9000000000000000", name=op.f("ck_posting_amount")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "currency"], ["account.id", "account.currency"], name=op.f("fk_posting_account_id_currency")
        ),
        sa.ForeignKeyConstraint(["entry_id"], ["journal_entry.id"], name=op.f("fk_posting_entry_id")),
        sa.PrimaryKeyConstraint("account_id", "account_seq", name=op.f("pk_posting")),
        sa.UniqueConstraint("entry_id", "account_id", name=op.f("uq_posting_entry_id_account_id")),
    )
    # An account's row is written anew in place, again and again.
    op.execute("ALTER TABLE account SET (fillfactor = 50)")
    for statement in (SIDE, POSTED, WRITTEN, HOLD_MOVED, HOLD_POSTED, FORBIDDEN, *TRIGGERS):
        op.execute(statement)
    op.execute("GRANT SELECT, INSERT (key, type, currency, owner, allow_negative) ON account TO mathia_app")
    # Locking a row needs the right to change a column of it; the trigger refuses the change.
    op.execute("GRANT UPDATE (id) ON account TO mathia_app")
    op.execute("GRANT SELECT, INSERT ON journal_entry, posting, refused_entry TO mathia_app")
    op.execute("GRANT USAGE ON SEQUENCE journal_entry_id_seq TO mathia_app")
    op.execute(
        "GRANT SELECT, INSERT (key, account_id, amount, expires_at), UPDATE (state, entry_id) ON hold TO mathia_app"
    )


def downgrade() -> None:
    """Take back."""
    for table in ("posting", "hold", "refused_entry", "journal_entry", "account"):
        op.drop_table(table)
    for name in ("side", "posted", "entries_written", "hold_moved", "hold_posted", "forbidden"):
        op.execute(f"DROP FUNCTION ledger_{name}")
