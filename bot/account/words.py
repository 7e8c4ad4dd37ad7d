"""What the account page says, in English and Swahili."""

from typing import Final

from core.language import Saying

TEXTS: Final = {
    "account": Saying("Your account", "Akaunti yako"),
    "open": Saying("Open my account page", "Fungua ukurasa wa akaunti yangu"),
    "open_long": Saying(
        "This link opens once, in this browser. Open it only if you asked for it in the chat yourself.",
        "Kiungo hiki hufunguka mara moja, kwenye kivinjari hiki. Kifungue tu kama uliomba mwenyewe kwenye gumzo.",
    ),
    "confirm": Saying("Confirm this payment", "Thibitisha malipo haya"),
    "pay": Saying("Pay", "Lipa"),
    "do_not": Saying("Do not pay", "Usilipe"),
    "first_pin": Saying("Choose a PIN below first, then confirm.", "Kwanza weka PIN hapa chini, kisha thibitisha."),
    "new_pin": Saying("Choose a PIN", "Weka PIN"),
    "change_pin": Saying("Change your PIN", "Badilisha PIN yako"),
    "pin": Saying("PIN", "PIN"),
    "old": Saying("Your PIN now", "PIN yako ya sasa"),
    "new": Saying("New PIN", "PIN mpya"),
    "again": Saying("New PIN again", "PIN mpya tena"),
    "pin_hint": Saying(
        "Six digits that nobody guesses. It is not your M-Pesa PIN, and nobody will ever ask for it in a chat.",
        "Tarakimu sita zisizokisiwa. Si PIN yako ya M-Pesa, na hakuna atakayeiomba kwenye gumzo.",
    ),
    "save": Saying("Save this PIN", "Hifadhi PIN hii"),
    "limits": Saying("Limits", "Vikomo"),
    "now": Saying(
        "At most {payment} by one payment, and {day} within a day.",
        "Kiasi cha juu {payment} kwa malipo moja, na {day} kwa siku.",
    ),
    "which": Saying("Which limit", "Kikomo kipi"),
    "per_payment": Saying("By one payment", "Kwa malipo moja"),
    "per_day": Saying("Within a day", "Ndani ya siku moja"),
    "amount": Saying("At most, in KES", "Kiasi cha juu, kwa KES"),
    "amount_hint": Saying("Up to {staff}", "Hadi {staff}"),
    "set": Saying("Set this limit", "Weka kikomo hiki"),
    "forgot": Saying("Forgot your PIN?", "Umesahau PIN yako?"),
    "forgot_long": Saying(
        "You can choose another one in 24 hours. It is said in your chats, and can be called off there until then.",
        "Unaweza kuweka nyingine baada ya saa 24. Utaambiwa kwenye gumzo zako, ambako inaweza kughairiwa hadi hapo.",
    ),
    "forgot_do": Saying("Choose another PIN in 24 hours", "Weka PIN nyingine baada ya saa 24"),
    "reset_waits": Saying(
        "From {at} on another PIN can be chosen here.", "Kuanzia {at} PIN nyingine inaweza kuwekwa hapa."
    ),
    "keep": Saying("Keep the PIN there is", "PIN iliyopo ibaki"),
    "leave": Saying("Close this page", "Funga ukurasa huu"),
    "problem": Saying("That did not work", "Haikufaulu"),
    "done": Saying("Done", "Imefanyika"),
}  # fmt: skip

OVER = Saying("This page is closed", "Ukurasa huu umefungwa")
OVER_LONG = Saying(
    "The link was opened already, or its 15 minutes are over. Write “my account page” in the chat for a new one.",
    "Kiungo kilishafunguliwa, au dakika zake 15 zimekwisha. Andika “ukurasa wa akaunti yangu” ujibiwe kingine.",
)
LEFT = Saying("You can go back to the chat.", "Unaweza kurudi kwenye gumzo.")
TRY_LATER = Saying("Not now", "Si sasa")
AWAY = Saying(
    "We cannot look that up just now. Try again in a moment.",
    "Hatuwezi kuangalia hilo sasa. Jaribu tena baada ya muda mfupi.",
)
NOT_OURS = Saying(
    "That was not sent from this page. Load it again.", "Hiyo haikutumwa kutoka ukurasa huu. Upakie tena."
)

WRONG = Saying("That is not your PIN. Nothing has happened.", "Hiyo si PIN yako. Hakuna kilichofanyika.")
LOCKED = Saying(
    "There were too many wrong PINs, so yours is locked until {at}. Nothing has happened.",
    "PIN zimekosewa mara nyingi, kwa hiyo yako imefungwa hadi {at}. Hakuna kilichofanyika.",
)
NO_PIN = Saying("There is no PIN yet. Choose one first.", "Bado hakuna PIN. Weka kwanza.")
SIX = Saying("A PIN has six digits.", "PIN ina tarakimu sita.")
DIFFERENT = Saying(
    "The two are different. Type the new PIN twice.", "Hizo mbili hazifanani. Andika PIN mpya mara mbili."
)
TRIVIAL = Saying(
    "That one is guessed first. Take digits without a pattern.",
    "Hiyo hukisiwa kwanza. Chagua tarakimu zisizo na mpangilio.",
)
NOT_NOW = Saying(
    "The PIN was changed meanwhile. Nothing has happened.", "PIN ilibadilishwa wakati huo. Hakuna kilichofanyika."
)
SAVED = Saying("Your PIN is saved.", "PIN yako imehifadhiwa.")
LIMIT_SET = {
    "payment": Saying("At most {at_most} goes out by one payment now.", "Sasa malipo moja hayazidi {at_most}."),
    "day": Saying("At most {at_most} goes out within a day now.", "Sasa malipo ya siku moja hayazidi {at_most}."),
}
WHICH = Saying("Choose which limit it is.", "Chagua ni kikomo kipi.")
BEYOND = Saying("It can be at most {at_most}.", "Kisizidi {at_most}.")
GONE = Saying(
    "This payment does not wait any more: it is done, taken back, or its time is over. Ask for it again in the chat.",
    "Malipo haya hayasubiri tena: yamefanyika, yameghairiwa, au muda wake umekwisha. Omba tena kwenye gumzo.",
)
CANCELLED = Saying("All right. Nothing was paid.", "Sawa. Hakuna kilicholipwa.")
ASKED_ALREADY = Saying("That was asked for already.", "Hilo limeshaombwa.")
RESET_ASKED = Saying("From {at} on another PIN can be chosen here.", "Kuanzia {at} PIN nyingine inaweza kuwekwa hapa.")
KEPT = Saying("Your PIN stays as it is.", "PIN yako inabaki ilivyo.")

TOLD_SAVED = Saying(
    "The PIN of your account was set on your account page. If that was not you, say “pause my payments” at once.",
    "PIN ya akaunti yako imewekwa kwenye ukurasa wake. Kama si wewe, andika “simamisha malipo yangu” mara moja.",
)
TOLD_LOCKED = Saying(
    "Somebody typed wrong PINs on your account page, so the PIN is locked until {at}. If that was not you, say “pause"
    " my payments”.",
    "Mtu amekosea PIN kwenye ukurasa wa akaunti yako, kwa hiyo PIN imefungwa hadi {at}. Kama si wewe, andika “simamisha"
    " malipo yangu”.",
)
TOLD_RESET = Saying(
    "Somebody said on your account page to have forgotten the PIN: another one can be chosen from {at} on. If that was"
    " not you, say “cancel the PIN reset”.",
    "Mtu amesema kwenye ukurasa wa akaunti yako kwamba amesahau PIN: nyingine inaweza kuwekwa kuanzia {at}. Kama si"
    " wewe, andika “ghairi PIN mpya”.",
)
TOLD_LIMIT = Saying(
    "A limit was set with your PIN: {what} If that was not you, say “pause my payments”.",
    "Kikomo kimewekwa kwa PIN yako: {what} Kama si wewe, andika “simamisha malipo yangu”.",
)
