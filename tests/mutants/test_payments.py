"""Mutants of payments: every run plants one, by the day; MATHIA_MUTANTS=all plants all of them."""

from pathlib import Path

import pytest

from tests.mutants.planting import Edit, Mutant, must_be_caught, planted

AT_ONCE = 1
PAGE, FRAME = "bot/pay/page.py", "bot/pages/frame.py"
MANDATES, MANDATE_LAWS = "connectors/wallet/mandates.py", "alembic/versions/0070_mandates.py"
STORE, WORK, BILLS = "ledger/instruction_store.py", "jobs/payments.py", "ledger/invoices.py"

MUTANTS = {
    "an order is told again after a lost answer": Mutant(
        "jobs/test_payments.py -k whatever",
        (
            Edit(
                "core/providers.py", "raise OutcomeUnknown(str(again.error)) from None", "raise again.error from None"
            ),
        ),
    ),
    "a webhook credits without a question": Mutant(
        "bot/test_payment_webhook.py -k hint",
        (
            Edit(
                STORE, "    SET hinted_at = clock_timestamp(), due_at",
                "    SET state = 'complete', hinted_at = clock_timestamp(), due_at",
            ),
        ),
    ),
    "a failure after a success overwrites it": Mutant(
        "ledger/test_instructions.py", (Edit("ledger/instructions.py", "if of.state in DONE:", "if of.state in ():"),)
    ),
    "whoever takes over initiates once more": Mutant(
        "jobs/test_payments.py -k takes_over",
        (Edit(WORK, "await step.end(State.FAILED, INTERRUPTED)", "await step.initiate()"),),
    ),
    "whoever takes over approves once more": Mutant(
        "jobs/test_payments.py -k takes_over",
        (
            Edit(WORK, "            case State.INITIATED:\n", "            case State.INITIATED | State.APPROVING:\n"),
            Edit(WORK, "        if answer.outcome is not Outcome.NOT_APPROVED:", "        if answer.outcome is None:"),
            Edit(WORK, "of = await self.moved(State.APPROVING,", "of = await self.moved(of.state,"),
        ),
    ),
    "what somebody else approved is approved again": Mutant(
        "jobs/test_payments.py -k somebody_else",
        (Edit(WORK, "        if answer.outcome is not Outcome.NOT_APPROVED:", "        if answer.outcome is None:"),),
    ),
    "another amount is as good": Mutant(
        "ledger/test_instructions.py",
        (Edit("ledger/instructions.py", "if told.amount != of.amount.decimal:", "if told.amount is None:"),),
    ),
    "a claim that was lost writes": Mutant(
        "jobs/test_payments.py -k claim_that_was_lost",
        (Edit(STORE, "WHERE id = $1 AND attempt = $2 AND state = $3", "WHERE id = $1 AND $2 > 0 AND state = $3"),),
    ),
    "an invoice has two phones ring at once": Mutant(
        "ledger/test_invoices.py -k one_phone", (Edit(BILLS, "WHERE i.id = $1 FOR NO KEY UPDATE", "WHERE i.id = $1"),)
    ),
    "an invoice is asked for more than its rest": Mutant(
        "ledger/test_invoices.py -k only_its_rest",
        (Edit(BILLS, "    if amount > invoice.rest:", "    if amount is None:"),),
    ),
    "what comes for a void invoice makes it paid": Mutant(
        "ledger/test_invoices.py -k void_invoice_is_counted", (Edit(BILLS, "    if state in OPEN:", "    if state:"),)
    ),
    "a form of any page asks a phone": Mutant(
        "bot/test_pay_page.py -k another_page",
        (Edit(FRAME, "if not is_ours(request, self._base_url):", "if request is None:"),),
    ),
    "a stranger's phone rings without end": Mutant(
        "bot/test_pay_page.py -k strangers_phone",
        (Edit(PAGE, "await self.frame.count(request, [PAY_PHONE, PAY_PHONE_DAY], phone, call)", "assert phone"),),
    ),
    "a form sent twice asks twice": Mutant(
        "bot/test_pay_page.py -k same_form",
        (Edit("ledger/invoice_paying.py", ':{method}:{key}"', ":{method}:{key}{__import__('time').time()}\""),),
    ),
    "a name on an invoice is mark-up": Mutant(
        "core/test_invoice_pdf.py -k mark_up",
        (Edit("core/invoice.typ", "weight: 600, it.payer.name)", 'weight: 600, eval(it.payer.name, mode: "markup"))'),),
    ),
    "any challenge is right": Mutant(
        "bot/test_payment_webhook.py -k challenge",
        (Edit("bot/webhooks.py", "hmac.compare_digest(given.encode(), ours)", "ours is not None"),),
    ),
    "a failed payout keeps its money back": Mutant(
        "jobs/test_payments.py -k gives_the_money_back",
        (Edit(STORE, "    elif to is State.FAILED and of.is_out:", "    elif to is State.LATE and of.is_out:"),),
    ),
    "a line settles as often as it is read": Mutant(
        "jobs/test_reconcile.py -k clearing",
        (
            Edit("ledger/matching.py", "        if settled and line.id in settled:\n            continue\n", ""),
            Edit(
                "ledger/matching.py",
                "    taken = {*(settled or {}).values(), *(one.id for one in booked if one.is_settled)}",
                "    taken: set[int] = set()",
            ),
            Edit("ledger/matching_store.py", "    ON CONFLICT DO NOTHING RETURNING", "    RETURNING"),
        ),
    ),
    "more is given back than came": Mutant(
        "jobs/test_refunds.py -k never_more",
        (Edit(STORE, "(amount > left and not again)", "again is None"),),
    ),
    "somebody else's payment is disputed": Mutant(
        "connectors/test_disputing.py -k chargeback",
        (Edit("connectors/wallet/disputing.py", " and of.payee.account in numbers]", "]"),),
    ),
    "a chargeback is swallowed by its payer's dispute": Mutant(
        "connectors/test_disputing.py -k chargeback",
        (
            Edit(
                "ledger/dispute_store.py",
                "await _undecided(connection, row[\"id\"]) if asked.line_id is not None else None", "None",
            ),
        ),
    ),
    "a payer freezes by their word": Mutant(
        "connectors/test_disputing.py -k wallet_is_disputed",
        (
            Edit(
                "ledger/dispute_store.py",
                "        asked.entry_id, asked.by, asked.told_in, words,\n    )  # fmt: skip\n"
                "    return await find(connection, reference)\n",
                "        asked.entry_id, asked.by, asked.told_in, words,\n    )  # fmt: skip\n"
                "    return await freeze(connection, reference, \"x\", \"\")\n",
            ),
        ),
    ),
    "a dispute is decided twice": Mutant(
        "jobs/test_refunds.py -k decisions_at_once",
        (
            Edit("ledger/dispute_store.py", "WHERE reference = $1 FOR NO KEY UPDATE", "WHERE reference = $1"),
            Edit("ledger/dispute_store.py", "    assert done is not None  # noqa: S101  its row is locked\n", ""),
        ),
    ),
    "a webhook is heard for every account": Mutant(
        "jobs/test_own_accounts.py -k webhook",
        (Edit(STORE, "WHERE account IS NULL AND id = coalesce(", "WHERE id = coalesce("),),
    ),
    "a mandate does not count its uses": Mutant(
        "ledger/test_mandates.py -k at_once",
        (Edit(MANDATE_LAWS, "UPDATE mandate SET spent = spent + new.amount WHERE id = given.id;", "NULL;"),),
    ),
    "a mandate is used by two at once": Mutant(
        "ledger/test_mandates.py -k comes_second",
        (Edit(MANDATE_LAWS, "WHERE id = new.mandate_id FOR NO KEY UPDATE;", "WHERE id = new.mandate_id;"),),
    ),
    "a mandate is for anybody": Mutant(
        "ledger/test_mandates.py -k have_paid",
        (Edit(MANDATE_LAWS, "IF new.payee = ANY (given.payees) IS NOT TRUE THEN", "IF new.payee IS NULL THEN"),),
    ),
    "a mandate rests on anybody's confirmation": Mutant(
        "ledger/test_mandates.py -k to_grant", (Edit(MANDATE_LAWS, "AND c.person_id = workflow.person_id", ""),)
    ),
    "a mandate outlives a change of its workflow": Mutant(
        "ledger/test_mandates.py -k whatever",
        (Edit(MANDATE_LAWS, "IF new.version > old.version OR new.state = 'deleted' THEN", "IF false THEN"),),
    ),
    "a mandate is good for a run from before a change": Mutant(
        "ledger/test_mandates.py -k as_it_was",
        (
            Edit(MANDATE_LAWS, "AND r.version = given.version", ""),
            Edit("ledger/mandates.py", 'if run["began_with"] != run["version"]:', "if run is None:"),
        ),
    ),
    "a mandate need not be what was confirmed": Mutant(
        "connectors/test_mandates.py -k other_terms",
        (Edit(MANDATES, "if agreed == (mandate.definition_id, mandate.version, mandate.terms):", "if agreed:"),),
    ),
    "a mandate pays a step again that is tried again": Mutant(
        "connectors/test_mandates.py -k what_is_left",
        (Edit(MANDATES, "earlier = await mandates.used(connection, key)", "earlier = None"),),
    ),
    "a mandate pays for a number that changed hands": Mutant(
        "connectors/test_mandates.py -k changed_hands",
        (Edit(MANDATES, "if await renumber.is_frozen(connection, given.sender):", "if given is None:"),),
    ),
    "a mandate wants a PIN by what it pays each time": Mutant(
        "connectors/test_mandates.py -k wants_the_pin",
        (Edit(MANDATES, "needs_pin(ctx, total)", "needs_pin(ctx, each)"),),
    ),
    "a limit holds for the prompt alone": Mutant(
        "connectors/test_spending_model.py",
        (
            Edit(
                "connectors/wallet/limits.py", "if limits.payment < amount:",
                "if not ctx.confirmed and limits.payment < amount:",
            ),
        ),
    ),
    "a code confirms what wants a PIN": Mutant(
        "connectors/test_spending.py -k limits_and_the_stop",
        (Edit("connectors/wallet/spending.py", "            await unless_unproven(ctx, connection, amount)\n", ""),),
    ),
    "a wrong PIN pays": Mutant(
        "bot/test_account_page.py -k word_for_word",
        (Edit("core/pin.py", "if hmac.compare_digest(await", "if hmac and not hmac.compare_digest(await"),),
    ),
    "guesses at once are not counted": Mutant(
        "bot/test_account_page.py -k guessing",
        (Edit("core/pin.py", "AND (pin_locked_until IS NULL OR pin_locked_until <= $2)\n", "\n"),),
    ),
    "a reset takes effect at once": Mutant(
        "bot/test_account_page.py -k forgot",
        (Edit("core/pin.py", "RESET_AFTER = timedelta(hours=24)", "RESET_AFTER = timedelta()"),),
    ),
    "the switch lets who is paying go on": Mutant(
        "connectors/test_spending.py -k switch",
        (Edit("ledger/payment_switch.py", " FOR SHARE", ""),),
    ),
    "a link opens twice": Mutant(
        "bot/test_account_page.py -k opens_once",
        (
            Edit(
                "core/account_links.py", "opened_at IS NULL AND expires_at > $2 RETURNING", "expires_at > $2 RETURNING"
            ),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", planted(MUTANTS, AT_ONCE))
def test_a_mutant_is_caught(name: str, tmp_path: Path) -> None:
    must_be_caught(MUTANTS[name], tmp_path)
