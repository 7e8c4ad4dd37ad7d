"""What people ask for that is understood, and that no connector of this installation does: said as what it is."""

from collections.abc import Mapping
from typing import Final

from core.language import Saying

NOT_HERE: Final = Saying(
    "I understood that you want to {what}. I cannot do that here yet.",
    "Nimeelewa unataka {what}. Bado siwezi kufanya hivyo hapa.",
)

ACTIONS: Final[Mapping[str, Saying]] = {
    "search_flights": Saying("find a flight", "kutafuta ndege"),
    "search_buses": Saying("find a bus", "kutafuta basi"),
    "search_hotels": Saying("find a place to stay", "kutafuta mahali pa kulala"),
    "search_transfers": Saying("get a ride", "kupata usafiri"),
    "search_events": Saying("find events", "kutafuta matukio"),
    "create_itinerary": Saying("plan a trip", "kupanga safari"),
    "view_itinerary": Saying("see your itinerary", "kuona ratiba ya safari yako"),
    "add_to_itinerary": Saying("add to your itinerary", "kuongeza kwenye ratiba ya safari"),
    "remove_from_itinerary": Saying("take something off your itinerary", "kuondoa kitu kwenye ratiba ya safari"),
    "share_itinerary": Saying("share your itinerary", "kushiriki ratiba ya safari"),
    "check_availability": Saying("look into your calendar", "kuangalia kalenda yako"),
    "schedule_meeting": Saying("book a meeting", "kupanga mkutano"),
    "check_balance": Saying("see your balance", "kuona salio lako"),
    "list_transactions": Saying("see your transactions", "kuona miamala yako"),
    "check_payments": Saying("see your payments", "kuona malipo yako"),
    "check_invoice_status": Saying("know about an invoice", "kujua kuhusu ankara"),
    "create_invoice": Saying("write an invoice", "kuandika ankara"),
    "create_payment_link": Saying("make a payment link", "kutengeneza kiungo cha malipo"),
    "top_up": Saying("add money to your account", "kuongeza pesa kwenye akaunti"),
    "send_money": Saying("send money", "kutuma pesa"),
    "withdraw": Saying("withdraw money", "kutoa pesa"),
    "open_dispute": Saying("dispute a payment", "kupinga malipo"),
    "send_email": Saying("send an e-mail", "kutuma barua pepe"),
    "send_whatsapp": Saying("send somebody a message", "kumtumia mtu ujumbe"),
    "create_workflow": Saying("set up an automation", "kuweka kazi ya kujiendesha"),
    "list_workflows": Saying("see your automations", "kuona kazi zako za kujiendesha"),
    "run_workflow": Saying("run an automation", "kuendesha kazi ya kujiendesha"),
    "pause_workflow": Saying("pause an automation", "kusimamisha kazi ya kujiendesha"),
    "resume_workflow": Saying("resume an automation", "kuendeleza kazi ya kujiendesha"),
    "approve_step": Saying("approve a step", "kuidhinisha hatua"),
    "reject_step": Saying("reject a step", "kukataa hatua"),
    "search_info": Saying("have something looked up", "kutafutiwa jambo"),
    "search_gif": Saying("see a GIF", "kuona GIF"),
    "find_jobs": Saying("find work", "kutafuta kazi"),
    "search_notes": Saying("search your notes", "kutafuta kwenye maelezo yako"),
    "create_note": Saying("write a note", "kuandika dokezo"),
    "post_social": Saying("post something", "kuchapisha kitu"),
    "my_receipts": Saying("see what was done for you", "kuona yaliyofanywa kwa ajili yako"),
    "snooze_reminder": Saying("put off a reminder", "kuahirisha kikumbusho"),
}  # fmt: skip
"""Actions of the training lines, as what somebody wants to do."""
