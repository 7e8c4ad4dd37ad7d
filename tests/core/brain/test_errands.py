"""Money, meetings and messages: what a first message says."""

from datetime import datetime

import pytest
from pydantic import JsonValue

from core.brain import errands, when
from core.brain.words import said

NOW = when.local(datetime(2026, 11, 24, 10, 15), "Africa/Nairobi")  # noqa: DTZ001  a Tuesday


@pytest.mark.parametrize(
    ("action", "text", "slots"),
    [
        ("send_money", "send 2,500 bob to Mary Wanjiku", {
            "amount": "2500", "currency": "KES", "recipient": "Mary Wanjiku"}),
        ("send_money", "tumia mama 5k", {"amount": "5000", "recipient": "mama"}),
        ("send_money", "send 300 to 0712345678", {"amount": "300", "phone_number": "0712345678"}),
        ("send_money", "I want to pay somebody", {}),
        ("schedule_meeting", "meet with Otieno on Friday at 3pm for 45 minutes", {
            "title": "Meeting with Otieno", "date": "2026-11-27", "time": "15:00", "duration": 2700}),
        ("check_availability", "am I free on 3 December", {"date": "2026-12-03"}),
        ("send_email", "email asha@example.com about the rent saying I will pay on Friday", {
            "to": "asha@example.com", "subject": "the rent", "text": "I will pay on Friday"}),
        ("send_whatsapp", "text Brian saying I am late", {"phone_number": "Brian", "message": "I am late"}),
        ("create_invoice", "invoice Achieng KES 5,000 for the logo, due Friday, achieng@example.com, 0712000009", {
            "amount": "5000", "currency": "KES", "payer_name": "Achieng", "description": "logo",
            "due_date": "2026-11-27", "payer_email": "achieng@example.com", "phone_number": "0712000009"}),
        ("create_invoice", "send an invoice of 12,000 to Otieno for the website, net 30", {
            "amount": "12000", "payer_name": "Otieno", "description": "website", "due_date": "2026-12-24"}),
        ("create_invoice", "monthly invoice to Sunrise Ltd 20k for bookkeeping every 31st", {
            "amount": "20000", "payer_name": "Sunrise Ltd", "description": "bookkeeping",
            "recurrence": "FREQ=MONTHLY;BYMONTHDAY=31"}),
        ("create_invoice", "tengeneza ankara ya 5,000 kwa Achieng ya nembo, ilipwe ijumaa", {
            "amount": "5000", "payer_name": "Achieng", "description": "nembo", "due_date": "2026-11-27"}),
        ("create_invoice", "create an invoice", {}),
        ("create_invoice", "invoice the school 3000 for books and 2 banners", {
            "amount": "3000", "payer_name": "school", "description": "books and 2 banners"}),
        ("create_invoice", "invoice 0722000333 for 2,000 shillings", {
            "amount": "2000", "currency": "KES", "phone_number": "0722000333"}),
        ("create_invoice", "nataka kumtumia Achieng ankara ya elfu tano", {"amount": "5000", "payer_name": "Achieng"}),
        ("create_invoice", "invoice Mary Wanjiku 20k monthly for bookkeeping starting 1 December", {
            "amount": "20000", "payer_name": "Mary Wanjiku", "description": "bookkeeping",
            "recurrence": "FREQ=MONTHLY;BYMONTHDAY=1"}),
        ("create_invoice", "invoice Achieng minus 500", {"payer_name": "Achieng"}),
        ("create_invoice", "I want to invoice a client", {}),
        ("void_invoice", "void the last invoice", {}),
        ("mark_invoice_paid", "Achieng paid the invoice by cheque", {"invoice": "Achieng", "how": "cheque"}),
        (
            "mark_invoice_paid", "she paid 2000 of invoice INV-2026-00003 in cash",
            {"invoice": "INV-2026-00003", "how": "cash", "amount": "2000"},
        ),
        ("resend_invoice", "send Achieng the invoice again", {"invoice": "Achieng"}),
        ("resend_invoice", "mtumie Achieng ankara tena", {"invoice": "Achieng"}),
        ("refund_invoice", "mrudishie Njoki hela ya ankara yake", {"invoice": "Njoki"}),
        ("stop_recurring_invoice", "acha kumtumia Wairimu ankara kila mwezi", {"invoice": "Wairimu"}),
        ("void_invoice", "send me the invoice", {}),
        ("resend_invoice", "send the invoice for Achieng again", {"invoice": "Achieng"}),
        ("resend_invoice", "send invoice INV-2026-00001 again", {"invoice": "INV-2026-00001"}),
        ("resend_invoice", "send Achieng invoice INV-2026-00001 again", {"invoice": "INV-2026-00001"}),
        ("unmark_invoice_paid", "take back the mark on INV-2026-00001", {"invoice": "INV-2026-00001"}),
        ("unmark_invoice_paid", "INV-2026-00003 was not paid", {"invoice": "INV-2026-00003"}),
        ("check_invoice_status", "has Achieng paid the invoice?", {"invoice": "Achieng"}),
        ("check_invoice_status", "did inv-2026-00007 get paid", {"invoice": "INV-2026-00007"}),
        ("check_invoice_status", "which invoices are overdue", {}),
        ("search_gif", "get me a gif of dancing goats", {"query": "dancing goats"}),
        ("list_transactions", "my last 5 transactions", {"limit": 5}),
    ],
)  # fmt: skip
def test_slots(action: str, text: str, slots: dict[str, JsonValue]) -> None:
    assert errands.READERS[action](said(text), NOW, "Africa/Nairobi") == slots


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("$48.2 million", "48200000", "USD"),
        ("c$ 300 million", "300000000", "CAD"), ("35 lakh rupees", "3500000", "INR"),
        ("half a million shillings", "500000", "KES"),
        ("15 dollars 50.", "15.50", "USD"), ("3 USD50 cards", "50", "USD"),
        ("laki mbili", "200000", None), ("KSh 5,000/=", "5000", "KES"), ("12,34,567.89 rupees", "1234567.89", "INR"),
    ],
)  # fmt: skip
def test_sums(text: str, amount: str, currency: str | None) -> None:
    found = errands.money(said(text), "Africa/Nairobi")
    assert (found.get("amount"), found.get("currency")) == (amount, currency)


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("call 0712 345 678 now", "0712 345 678"), ("+254 (0) 712-345678", "+254 (0) 712-345678"),
        ("0161 123 4567 ext. 12", "0161 123 4567 ext. 12"), ("card 6011-0000-0000-0004", None), ("on 12/03/2026", None),
        ("account 12345678", None),
        ("0.000000012", None), ("123-45-6789", None), ("5,000,000", None), ("x1234567", None),
    ],
)  # fmt: skip
def test_phone_numbers(text: str, phone: str | None) -> None:
    assert errands.phone(said(text)).get("phone_number") == phone
