"""The person's money here: what they have, what came and went, adding some from M-Pesa, sending and withdrawing it."""

from dataclasses import replace

from connectors.wallet.account_page import cancel_pin_reset, open_account_page
from connectors.wallet.disputing import open_dispute
from connectors.wallet.limits import check_spending_limits, pause_payments, resume_payments, set_spending_limit
from connectors.wallet.mandates import cancel_mandate, grant_mandate, list_mandates, pay_by_mandate
from connectors.wallet.reading import check_balance, check_payments, list_transactions
from connectors.wallet.refunding import refund_invoice
from connectors.wallet.spending import send_money, withdraw
from connectors.wallet.topping_up import top_up
from core.actions import Connector
from core.language import Saying

connector = Connector(
    name="wallet", title=Saying("Your money", "Pesa zako"), private=True,
    actions=(check_balance, list_transactions, check_payments, top_up,
             replace(send_money, by_mandate=pay_by_mandate), withdraw, refund_invoice, open_dispute,
             grant_mandate, list_mandates, cancel_mandate,
             pause_payments, resume_payments, check_spending_limits, set_spending_limit, open_account_page,
             cancel_pin_reset),
    requires=("intasend_secret_key",), asks=lambda settings: settings.intasend_base_url,
)  # fmt: skip
