"""Every setting, read once at start. A field's name in capitals is its environment variable; `.env` is read too.

An empty string is the same as unset. Secrets are SecretStr and show as stars. No provider key means that provider is
off; with `SANDBOX_URL` set (`up` sets it) every provider without a key speaks to its simulator instead.
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.crypto import HOW, KeyList, key_file

SANDBOX_ACCOUNT_SID = "AC" + "0" * 31 + "1"
SANDBOX_AUTH_TOKEN = "sandbox-auth-token"  # noqa: S105  known to everybody, opens only the simulator
SANDBOX_WHATSAPP_FROM = "whatsapp:+14155238886"
SANDBOX_PHONE_NUMBER_ID = "106540352242922"
SANDBOX_WABA_ID = "102290129340398"
SANDBOX_ACCESS_TOKEN = "sandbox-access-token"  # noqa: S105  as above
SANDBOX_APP_SECRET = "sandbox-app-secret"  # noqa: S105
SANDBOX_VERIFY_TOKEN = "sandbox-verify-token"  # noqa: S105
SANDBOX_TRANSCRIPTION_KEY = "sk-sandbox"
SANDBOX_BOT_TOKEN = "1000001:sandbox-bot-token"  # noqa: S105
SANDBOX_PUBLISHABLE_KEY = "ISPubKey_test_sandbox"
SANDBOX_SECRET_KEY = "ISSecretKey_test_sandbox"  # noqa: S105
SANDBOX_CHALLENGE = "sandbox-challenge"

PRICE = re.compile(r"[^=,\s]{1,100}=[0-9]{1,5}(?:\.[0-9]{1,6})?/[0-9]{1,5}(?:\.[0-9]{1,6})?")
HF_ROUTER = "https://router.huggingface.co/"
PLAN = re.compile(r"[a-z][a-z0-9_]{0,30}=[1-9][0-9]{0,5}")


class Settings(BaseSettings):
    """The deployment's settings; frozen, so nothing changes them after start."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    # Servers. `up` fills what is empty with embedded ones.
    database_url: str = ""
    """postgresql:// URL. Every process but `migrate` works as role mathia_app, whoever logs in."""
    database_owner_url: str = ""
    """URL of the role that owns the tables, for migrations; the database_url where empty."""
    mathia_keys: SecretStr = SecretStr("")
    """The keys that wrap the rooms' keys, newest first: id:key,id:key with 32 random bytes each in base64url.

    Without the keys nothing people wrote can be read.
    """
    mathia_keys_file: str = ""
    """The file that holds them instead, and which `keys rotate` changes; `up` sets it to `keys` in its data folder."""
    redis_url: str = ""
    temporal_host: str = ""
    temporal_namespace: str = "mathia"

    # The web server.
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    """https:// address under which providers reach us; empty means none, and Telegram is polled."""
    widget_origins: str = ""
    """Origins (scheme://host[:port], comma separated) that may embed the widget, besides our own."""
    web_burst: int = Field(default=20, ge=1, le=1_000_000)
    """How many messages one visitor of the web chat may send in any ten seconds."""
    environment: Literal["development", "production"] = "development"

    # WhatsApp by Twilio.
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_whatsapp_from: str = ""
    """The sender, whatsapp:+14155238886; it is also the account name of our WhatsApp conversations."""
    twilio_base_url: str = "https://api.twilio.com"
    twilio_content_base_url: str = "https://content.twilio.com"
    """Where Twilio keeps message templates."""

    # WhatsApp by Meta's Cloud API, instead of Twilio or beside it with a number of its own.
    meta_phone_number_id: str = Field(default="", pattern=r"^[0-9]{0,32}$")
    """Meta's id of the sender, 106540352242922; it is also the account name of that number's conversations."""
    meta_waba_id: str = Field(default="", pattern=r"^[0-9]{0,32}$")
    """Meta's id of the WhatsApp business account that the sender belongs to, which has the message templates."""
    meta_access_token: SecretStr = SecretStr("")
    meta_app_secret: SecretStr = SecretStr("")
    meta_verify_token: SecretStr = SecretStr("")
    """Words of our own choice that Meta repeats when it is told our webhook's address."""
    meta_base_url: str = "https://graph.facebook.com"
    meta_graph_version: str = Field(default="v26.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")

    # Telegram.
    telegram_bot_token: SecretStr = SecretStr("")
    telegram_webhook_secret: SecretStr = SecretStr("")
    telegram_base_url: str = "https://api.telegram.org"

    # E-mail, for what a channel refuses.
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: bool = True
    mail_from: str = ""

    # Weather and rates; each has a provider that needs no key.
    openweather_api_key: SecretStr = SecretStr("")
    openweather_base_url: str = "https://api.openweathermap.org"
    open_meteo_base_url: str = "https://api.open-meteo.com"
    open_meteo_geo_base_url: str = "https://geocoding-api.open-meteo.com"
    exchangerate_api_key: SecretStr = SecretStr("")
    exchangerate_base_url: str = "https://v6.exchangerate-api.com"
    frankfurter_base_url: str = "https://api.frankfurter.dev"

    # Moderation: toxic-bert by Hugging Face with a token, a list of words without one.
    hf_api_token: SecretStr = SecretStr("")
    toxic_bert_base_url: str = "https://router.huggingface.co/hf-inference/models"

    # Language models: Claude, then any OpenAI-compatible endpoint, then the local brain, which needs none of them.
    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = "https://api.anthropic.com"
    llm_model_fast: str = "claude-haiku-5-5"
    """The model that reads every message first."""
    llm_model: str = "claude-sonnet-5-5"
    """The larger one, asked where the first one's answer will not do; empty for none."""
    llm_fallback_model: str = ""
    """The model at LLM_FALLBACK_BASE_URL, asked where Claude is away or has no key; empty for none."""
    llm_fallback_base_url: str = "https://router.huggingface.co/v1"
    """Its address before /chat/completions."""
    llm_fallback_api_key: SecretStr = SecretStr("")
    """Its key; at the Hugging Face router, HF_API_TOKEN where this is empty."""
    llm_tokens_month: int = Field(default=2_000_000, ge=0)
    """Tokens that a person may use in a month, times the factor of their plan; beyond, the local brain answers."""
    llm_prices: str = ""
    """US dollars for a million tokens read and written, model=1/5,model=3/15; for the record of each turn."""

    # Voice notes: an OpenAI-compatible service that writes them down; without a key people are asked to type.
    transcription_api_key: SecretStr = SecretStr("")
    transcription_base_url: str = "https://api.openai.com"
    """Its address before /v1/audio/transcriptions."""
    transcription_model: str = "gpt-transcribe"
    transcription_wait_s: float = Field(default=60.0, ge=1.0, le=600.0)
    """How long an answer waits for a voice note's words at most."""

    # Money: IntaSend, for M-Pesa, cards and payouts. Without its keys nothing of money is offered.
    intasend_publishable_key: str = ""
    intasend_secret_key: SecretStr = SecretStr("")
    intasend_challenge: SecretStr = SecretStr("")
    """Words of our own choice that IntaSend repeats in its webhooks; without them it is polled."""
    intasend_base_url: str = "https://payment.intasend.com"
    """Its address before /api/v1; https://sandbox.intasend.com for its own sandbox, which wants keys of its own."""

    # How long a turn, and a message on its way, are left to a process that went silent before others take them.
    # A turn's lease is renewed while it is answered; a send has to end within its lease.
    turn_lease_s: float = Field(default=10.0, ge=0.5, le=600.0)
    send_lease_s: float = Field(default=30.0, ge=0.5, le=600.0)

    # Files: a folder, or a bucket of Cloudflare R2 or of any other service that speaks S3.
    files_dir: str = ".mathia/files"
    r2_enabled: bool = False
    r2_endpoint: str = ""
    """https://ACCOUNT.r2.cloudflarestorage.com, or the S3 address of Oracle's or anybody's object storage."""
    r2_bucket: str = ""
    r2_region: str = "auto"
    r2_access_key_id: str = ""
    r2_secret_access_key: SecretStr = SecretStr("")

    # Delivery: how long after an ambiguous send "the provider does not know it" is believed.
    unknown_certain_s: float = Field(default=60.0, ge=1.0, le=3600.0)

    # Hand-off: after how long without a word or an open page a member of staff's conversation goes back to the bot,
    # and how long somebody who asked for a human waits at most.
    handoff_idle_s: float = Field(default=1800.0, ge=1.0, le=86_400.0)
    handoff_wait_s: float = Field(default=43_200.0, ge=1.0, le=604_800.0)

    # The sandbox: simulators of every provider at SANDBOX_URL/<provider>/…
    sandbox_url: str = ""

    # Addresses that others give us are fetched from in the open internet only. host:port, comma separated, for trying.
    egress_allow: str = ""

    # What a person may have paid, in whole KES: by a button, by a code in the chat (above it by their PIN), and within
    # a day; and a stop for all.
    payment_small_max: int = Field(default=500, ge=0, le=1_000_000)
    payment_max: int = Field(default=20_000, ge=0, le=1_000_000)
    payment_day_max: int = Field(default=50_000, ge=0, le=10_000_000)
    # What one of the staff may book by hand alone, in whole units of the default currency; above it a second approves.
    adjustment_alone_max: int = Field(default=5_000, ge=0, le=10_000_000)
    payments_paused: bool = False

    # A PNG or JPEG file that is printed at the head of every invoice.
    invoice_logo: str = ""

    # How people are served where they have not said otherwise.
    default_timezone: str = "Africa/Nairobi"
    default_currency: str = "KES"

    # What plans multiply a person's quotas by; a person's plan is a column, and "free" is times one.
    plan_factors: str = "pro=5"

    # Logs.
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("default_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone, such as Africa/Nairobi")
        ZoneInfo(value)
        return value

    @field_validator("plan_factors")
    @classmethod
    def _readable_factors(cls, value: str) -> str:
        if not all(PLAN.fullmatch(entry.strip()) for entry in value.split(",") if entry.strip()):
            raise ValueError(f"{value!r} is not a list of plans and whole factors, such as pro=5,team=20")
        return value

    @field_validator("llm_prices")
    @classmethod
    def _readable_prices(cls, value: str) -> str:
        if not all(PRICE.fullmatch(entry.strip()) for entry in value.split(",") if entry.strip()):
            raise ValueError(f"{value!r} is not a list of models and prices, such as claude-haiku-5-5=1/5")
        return value

    @field_validator("mathia_keys")
    @classmethod
    def _readable_keys(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            KeyList.parse(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        if self.mathia_keys_file and self.mathia_keys.get_secret_value():
            raise ValueError("set MATHIA_KEYS or MATHIA_KEYS_FILE, not both: they could differ")
        secrets = self.meta_access_token.get_secret_value(), self.meta_app_secret.get_secret_value()
        given = [bool(one) for one in (self.meta_phone_number_id, *secrets)]
        if any(given) and not all(given):
            raise ValueError("set all of META_PHONE_NUMBER_ID, META_ACCESS_TOKEN and META_APP_SECRET, or none of them")
        if bool(self.intasend_publishable_key) != bool(self.intasend_secret_key.get_secret_value()):
            raise ValueError("set both INTASEND_PUBLISHABLE_KEY and INTASEND_SECRET_KEY, or neither")
        secret = self.r2_secret_access_key.get_secret_value()
        if self.r2_enabled and not all((self.r2_endpoint, self.r2_bucket, self.r2_access_key_id, secret)):
            raise ValueError(
                "with R2_ENABLED, set R2_ENDPOINT, R2_BUCKET, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY too"
            )
        return self

    @model_validator(mode="after")
    def _safe(self) -> "Settings":
        if self.environment == "production":
            if self.sandbox_url:
                raise ValueError("SANDBOX_URL must not be set in production: answers would be made up")
            if self.egress_allow:
                raise ValueError("EGRESS_ALLOW must not be set in production: it opens the network we are in to others")
            if not self.mathia_keys.get_secret_value() and not self.mathia_keys_file:
                raise ValueError(f"MATHIA_KEYS must be set in production: it seals what people write. {HOW}")
            if not self.public_url.startswith("https://"):
                raise ValueError("PUBLIC_URL must be the https:// address of this deployment in production")
            if self.telegram_bot_token.get_secret_value() and len(self.telegram_webhook_secret.get_secret_value()) < 16:
                raise ValueError("TELEGRAM_WEBHOOK_SECRET must have at least 16 characters in production")
            if "_test_" in self.intasend_publishable_key + self.intasend_secret_key.get_secret_value():
                raise ValueError("INTASEND_PUBLISHABLE_KEY and INTASEND_SECRET_KEY must be live keys in production")
            if 0 < len(self.intasend_challenge.get_secret_value()) < 16:
                raise ValueError("INTASEND_CHALLENGE must have at least 16 characters in production")
        return self

    @property
    def base_url(self) -> str:
        """Where people reach us: the public address, else the local one."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    def reached_from(self, base_url: str) -> str:
        """Our address for the provider at `base_url`: PUBLIC_URL, our own machine for a simulator, else empty."""
        return self.public_url.rstrip("/") or (self.base_url if self.is_sandbox(base_url) else "")

    @property
    def transcribes(self) -> bool:
        """Whether voice notes are written down."""
        return bool(self.transcription_api_key.get_secret_value())

    @property
    def is_live(self) -> bool:
        """Whether the money that is moved is real."""
        return "_live_" in self.intasend_publishable_key

    @property
    def moves_money(self) -> bool:
        """Whether there is somebody to move money through."""
        return bool(self.intasend_secret_key.get_secret_value())

    @property
    def key_list(self) -> KeyList | None:
        """The keys that wrap the rooms' keys; None where none are set."""
        written = self.mathia_keys.get_secret_value()
        if written:
            return KeyList.parse(written)
        return key_file(Path(self.mathia_keys_file)) if self.mathia_keys_file else None

    @property
    def plans(self) -> dict[str, int]:
        """The factor of each plan."""
        pairs = (entry.strip().partition("=") for entry in self.plan_factors.split(",") if entry.strip())
        return {name: int(factor) for name, _, factor in pairs}

    @property
    def llm_fallback_key(self) -> str:
        """The key of the fallback model; the token of Hugging Face is shown to nobody else."""
        own = self.llm_fallback_api_key.get_secret_value()
        at_home = self.llm_fallback_base_url.startswith(HF_ROUTER)
        return own or (self.hf_api_token.get_secret_value() if at_home else "")

    @property
    def prices(self) -> dict[str, tuple[Decimal, Decimal]]:
        """What a million tokens cost in US dollars, read and written, by the model's name."""
        found: dict[str, tuple[Decimal, Decimal]] = {}
        for entry in self.llm_prices.split(","):
            name, _, both = entry.strip().rpartition("=")
            if name:
                read, _, written = both.partition("/")
                found[name] = Decimal(read), Decimal(written)
        return found

    def sandboxed(self) -> "Settings":
        """These settings with every keyless provider pointed at its simulator; unchanged where there is no sandbox.

        Providers that need no key at all (Open-Meteo, Frankfurter) are simulated too, so that nothing leaves the
        machine.
        """
        url = self.sandbox_url.rstrip("/")
        if not url:
            return self
        change: dict[str, object] = {}
        if not self.twilio_account_sid:
            change |= {
                "twilio_account_sid": SANDBOX_ACCOUNT_SID,
                "twilio_auth_token": SecretStr(SANDBOX_AUTH_TOKEN),
                "twilio_whatsapp_from": SANDBOX_WHATSAPP_FROM,
                "twilio_base_url": f"{url}/twilio",
                "twilio_content_base_url": f"{url}/twilio",
            }
        if not self.meta_phone_number_id:
            change |= {
                "meta_phone_number_id": SANDBOX_PHONE_NUMBER_ID,
                "meta_waba_id": SANDBOX_WABA_ID,
                "meta_access_token": SecretStr(SANDBOX_ACCESS_TOKEN),
                "meta_app_secret": SecretStr(SANDBOX_APP_SECRET),
                "meta_verify_token": SecretStr(SANDBOX_VERIFY_TOKEN),
                "meta_base_url": f"{url}/whatsapp",
            }
        if not self.telegram_bot_token.get_secret_value():
            change |= {
                "telegram_bot_token": SecretStr(SANDBOX_BOT_TOKEN),
                "telegram_base_url": f"{url}/telegram",
            }
        if not self.openweather_api_key.get_secret_value():
            change |= {
                "open_meteo_base_url": f"{url}/open-meteo",
                "open_meteo_geo_base_url": f"{url}/open-meteo",
                "openweather_base_url": f"{url}/openweather",
            }
        if not self.exchangerate_api_key.get_secret_value():
            change |= {
                "frankfurter_base_url": f"{url}/frankfurter",
                "exchangerate_base_url": f"{url}/exchangerate",
            }
        if not self.transcription_api_key.get_secret_value():
            change |= {
                "transcription_api_key": SecretStr(SANDBOX_TRANSCRIPTION_KEY),
                "transcription_base_url": f"{url}/transcription",
            }
        if not self.intasend_secret_key.get_secret_value():
            change |= {
                "intasend_publishable_key": SANDBOX_PUBLISHABLE_KEY,
                "intasend_secret_key": SecretStr(SANDBOX_SECRET_KEY),
                "intasend_challenge": SecretStr(SANDBOX_CHALLENGE),
                "intasend_base_url": f"{url}/intasend",
            }
        return self.model_copy(update=change)

    def is_sandbox(self, base_url: str) -> bool:
        """Whether this provider address is one of our simulators, so that answers can say so."""
        return bool(self.sandbox_url) and base_url.startswith(self.sandbox_url.rstrip("/") + "/")
