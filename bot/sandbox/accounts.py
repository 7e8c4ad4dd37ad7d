"""The simulators' own accounts, known to everybody: they open nothing but a simulator.

The application's settings hold the same values; they live here too because importing the settings would double the
memory of this small process. A test holds the two together.
"""

ACCOUNT_SID = "AC" + "0" * 31 + "1"
AUTH_TOKEN = "sandbox-auth-token"  # noqa: S105  known to everybody, opens only the simulator
WHATSAPP_FROM = "whatsapp:+14155238886"
PHONE_NUMBER_ID = "106540352242922"
WABA_ID = "102290129340398"
ACCESS_TOKEN = "sandbox-access-token"  # noqa: S105  as above
APP_SECRET = "sandbox-app-secret"  # noqa: S105
VERIFY_TOKEN = "sandbox-verify-token"  # noqa: S105
BOT_TOKEN = "1000001:sandbox-bot-token"  # noqa: S105
BOT_USERNAME = "mathia_sandbox_bot"
INTASEND_PUBLISHABLE_KEY = "ISPubKey_test_sandbox"
INTASEND_SECRET_KEY = "ISSecretKey_test_sandbox"  # noqa: S105
INTASEND_OTHER_PUBLISHABLE_KEY = "ISPubKey_test_other"
INTASEND_OTHER_SECRET_KEY = "ISSecretKey_test_other"  # noqa: S105  of a second merchant, who is somebody else
INTASEND_CHALLENGE = "sandbox-challenge"

WEBHOOK_TWILIO = "/webhooks/twilio"
"""Where the application takes inbound WhatsApp messages from Twilio, below its address."""
WEBHOOK_META = "/webhooks/whatsapp"
"""Where it takes messages and statuses from Meta."""
WEBHOOK_INTASEND = "/webhooks/intasend"
"""Where it hears of payments."""

API_KEY_PREFIX = "sandbox"
"""Keyed providers (OpenWeather, ExchangeRate-API) take every key that begins so, and no other."""


def is_api_key(key: str) -> bool:
    """Whether a keyed simulator lets this key in."""
    return key.startswith(API_KEY_PREFIX)


ADDRESS_FILE = "url"
"""In the simulators' data folder: where they are, while they run."""
