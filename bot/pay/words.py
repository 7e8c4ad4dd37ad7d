"""What the pay page says, in English and Swahili."""

from typing import Final

from core.language import Saying
from ledger.instructions import Method

TEXTS: Final = {
    "invoice": Saying("Invoice", "Ankara"),
    "from_": Saying("From", "Kutoka kwa"),
    "to": Saying("Billed to", "Ya kulipwa na"),
    "what_for": Saying("For", "Kwa ajili ya"),
    "issued": Saying("Issued", "Imetolewa"),
    "due_on": Saying("Pay by", "Ilipwe kufikia"),
    "asked": Saying("Invoiced", "Jumla ya ankara"),
    "paid": Saying("Paid so far", "Iliyolipwa hadi sasa"),
    "due": Saying("Amount due", "Kiasi kinachodaiwa"),
    "download": Saying("Download the PDF", "Pakua PDF"),
    "by_mpesa": Saying("Pay by M-Pesa", "Lipa kwa M-Pesa"),
    "by_card": Saying("Pay by card", "Lipa kwa kadi"),
    "phone": Saying("M-Pesa number", "Namba ya M-Pesa"),
    "phone_hint": Saying("Such as 0712 345 678", "Kama 0712 345 678"),
    "amount": Saying("Amount in {currency}", "Kiasi kwa {currency}"),
    "amount_hint": Saying("All of it or a part, at most {most}", "Zote au sehemu, si zaidi ya {most}"),
    "whole_hint": Saying(
        "All of it or a part, in whole shillings, at most {most}", "Zote au sehemu, shilingi kamili, si zaidi ya {most}"
    ),
    "ask_phone": Saying("Ask this phone", "Omba simu hii"),
    "ask_phone_hint": Saying(
        "M-Pesa asks that phone for a PIN. Nothing is paid before it is typed there.",
        "M-Pesa itaomba PIN kwenye simu hiyo. Hakuna kinacholipwa kabla haijawekwa huko.",
    ),
    "card_hint": Saying(
        "You type the card at IntaSend, who handle the payment; we never see it.",
        "Utaandika kadi kwenye ukurasa wa IntaSend, wanaoshughulikia malipo; sisi hatuioni.",
    ),
    "to_card": Saying("Go to the card page", "Nenda kwenye ukurasa wa kadi"),
    "other_way": Saying("Pay in another way", "Lipa kwa njia nyingine"),
    "look_again": Saying("Look again", "Angalia tena"),
    "language": Saying("Language", "Lugha"),
    "sender": Saying(
        "{issuer} wrote this invoice and is responsible for it. Ask them first if you did not expect it.",
        "{issuer} ndiye aliyeandika ankara hii na anayewajibika nayo. Muulize kwanza kama hukuitarajia.",
    ),
}

STATES: Final = {
    "draft": (Saying("To be paid", "Inasubiri malipo"), "plain"),
    "sent": (Saying("To be paid", "Inasubiri malipo"), "plain"),
    "part_paid": (Saying("Part paid", "Imelipwa sehemu"), "amber"),
    "overdue": (Saying("Overdue", "Imechelewa"), "red"),
    "paid": (Saying("Paid", "Imelipwa"), "green"),
    "void": (Saying("Void", "Imefutwa"), "red"),
    "disputed": (Saying("Disputed", "Ina mgogoro"), "amber"),
}
"""What each state is called, and the colour it has besides."""

OVERDUE = Saying("It was to be paid by {day}.", "Ilipaswa kulipwa kufikia {day}.")
PAID = Saying("It is paid in full. Nothing is due any more.", "Imelipwa yote. Hakuna kinachodaiwa tena.")
PAID_OVER = Saying(
    "It is paid in full, and {over} more than it asked for. {issuer} has been told; ask them for it back.",
    "Imelipwa yote, na {over} zaidi ya ilichodai. {issuer} ameambiwa; muombe arudishe.",
)
VOID = Saying("{issuer} has cancelled it. Do not pay it.", "{issuer} ameifuta. Usiilipe.")
VOID_PAID = Saying(
    "{issuer} has cancelled it, and {paid} were paid on it. Ask them for that back.",
    "{issuer} ameifuta, na {paid} zilikuwa zimelipwa. Muombe azirudishe.",
)
DISPUTED = Saying(
    "It is disputed, so it takes no payment until that is settled.",
    "Ina mgogoro, kwa hiyo haipokei malipo hadi utatuliwe.",
)
NO_WAY = Saying(
    "It cannot be paid online. Ask {issuer} how to pay.", "Haiwezi kulipwa mtandaoni. Muulize {issuer} jinsi ya kulipa."
)
ON_PHONE = Saying(
    "M-Pesa asks the phone ending in {end} to pay {amount}. Type the PIN there; this page goes on by itself.",
    "M-Pesa inaomba simu inayoishia {end} ilipe {amount}. Weka PIN huko; ukurasa huu utaendelea wenyewe.",
)
SENDING = Saying("The request is on its way", "Ombi liko njiani")
SENDING_LONG = Saying(
    "M-Pesa will ask the phone ending in {end} to pay {amount}. Have it at hand; this page goes on by itself.",
    "M-Pesa itaomba simu inayoishia {end} ilipe {amount}. Uwe nayo mkononi; ukurasa huu utaendelea wenyewe.",
)
LOOK_AT_PHONE = Saying("Look at your phone", "Tazama simu yako")
PAGE_MADE = Saying("The card page is being made", "Ukurasa wa kadi unaandaliwa")
PAGE_MADE_LONG = Saying("It takes a few seconds.", "Itachukua sekunde chache.")
PAGE_THERE = Saying("The card page is ready", "Ukurasa wa kadi uko tayari")
PAGE_THERE_LONG = Saying("It asks for {amount}.", "Unaomba {amount}.")
CHECKING = Saying("Your payment is being checked", "Malipo yako yanathibitishwa")
CHECKING_LONG = Saying(
    "We ask the bank whether {amount} have come. This page goes on by itself.",
    "Tunauliza benki kama {amount} zimefika. Ukurasa huu utaendelea wenyewe.",
)
CAME = Saying("Thank you: {amount} have come.", "Asante: {amount} zimefika.")
NOT_SURE = Saying(
    "Something about the payment of {amount} does not add up, and somebody is looking at it. Do not pay it again.",
    "Kuna jambo halilingani kwenye malipo ya {amount}, na mtu analishughulikia. Usilipe tena.",
)
NOT_PAID = Saying("That was not paid", "Hiyo haikulipwa")
LOOKED_AT = Saying("Somebody is looking at it", "Mtu anaishughulikia")
LONG = Saying("It takes longer than usual", "Inachukua muda kuliko kawaida")
LONG_PHONE = Saying(
    "We do not know yet whether {amount} were paid, and go on asking. Look here again before you pay once more.",
    "Bado hatujui kama {amount} zimelipwa, na tunaendelea kuuliza. Angalia hapa tena kabla ya kulipa mara nyingine.",
)
LONG_PAGE = Saying(
    "The card page for {amount} is not there yet. Nothing was paid.",
    "Ukurasa wa kadi wa {amount} bado haupo. Hakuna kilicholipwa.",
)
FAILED = Saying("{amount} were not paid: {reason}.", "{amount} hazikulipwa: {reason}.")
REASONS: Final = {
    "1032": Saying("the request was declined on the phone", "ombi lilikataliwa kwenye simu"),
    "1": Saying("there was not enough money in M-Pesa", "hakukuwa na pesa za kutosha M-Pesa"),
    "1037": Saying("nobody answered on the phone", "hakuna aliyejibu kwenye simu"),
    "2001": Saying("the PIN was wrong", "PIN haikuwa sahihi"),
}
"""Why M-Pesa did not pay, by its code."""
NO_REASON: Final = {
    Method.PUSH: Saying("M-Pesa did not say why", "M-Pesa haikusema kwa nini"),
    Method.CHECKOUT: Saying("the card page could not be made", "ukurasa wa kadi haukuweza kuandaliwa"),
}

NOT_THERE = Saying("There is no such invoice", "Hakuna ankara kama hiyo")
NOT_THERE_LONG = Saying(
    "Look whether the address is whole, or ask whoever sent it to you.",
    "Angalia kama anwani ni kamili, au muulize aliyekutumia.",
)
TRY_LATER = Saying("Not just now", "Si kwa sasa")
AWAY = Saying(
    "This page cannot be shown for a moment. Nothing was paid by this try; open it again in a minute.",
    "Ukurasa huu hauwezi kuonyeshwa kwa muda mfupi. Hakuna kilicholipwa kwa jaribio hili; ufungue tena baadaye.",
)
NOT_OURS = Saying(
    "That form did not come from this page, so nothing was asked of anybody. Open the page again and pay there.",
    "Fomu hiyo haikutoka kwenye ukurasa huu, kwa hiyo hakuna aliyeombwa chochote. Fungua ukurasa tena na ulipe huko.",
)
USED = Saying(
    "That form was used for another payment already. Look below what became of it, and fill in the new form.",
    "Fomu hiyo ilishatumika kwa malipo mengine. Angalia hapa chini yalivyoisha, na ujaze fomu mpya.",
)
