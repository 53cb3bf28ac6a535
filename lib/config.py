"""Every environment variable, read once and typed. Nothing else in the project reads the environment.

The names are those of the Supabase ecosystem, so that ``supabase status -o env`` and a Vercel integration
fill them without a translation.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, Self, cast

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?")
_SENDER = re.compile(r"[^<>@\x00-\x1f\x7f]*<[^<>@\s]+@[A-Za-z0-9.-]+>|[^<>@\s]+@[A-Za-z0-9.-]+")
_EMAIL_SERVER = re.compile(r"smtps?://([^\s/@:]+:[^\s/@]+@)?[A-Za-z0-9.-]+(:\d{1,5})?/?")
_SHORTEST_SECRET = 32
"""Bytes. RFC 7518 §3.2: an HS256 key is at least as long as the hash."""


_KEY_MEMBERS = {"client_email", "private_key", "token_uri"}
"""What must stand in the key of a service account."""


class ConfigurationError(RuntimeError):
    """The environment is incomplete or wrong. The message names variables and never shows a value."""


class Settings(BaseSettings):
    """The settings of one process. Secrets are ``SecretStr``: printing the object shows none."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    supabase_url: str = Field(description="Where Supabase is, such as https://abc.supabase.co.")
    supabase_publishable_key: str = Field(description="The key that says which project; no rights of its own.")
    supabase_secret_key: SecretStr | None = Field(
        default=None, description="The service key: for cron, webhooks and token links alone."
    )
    supabase_jwks_url: str = Field(default="", description="Where the keys that sign tokens are published.")
    supabase_jwt_secret: SecretStr | None = Field(
        default=None, description="Allows HS256 tokens signed with it. For a local stack only."
    )
    supabase_jwt_issuer: str = Field(default="", description="The `iss` that a token must carry.")
    supabase_timeout_seconds: float = Field(
        default=10.0, gt=0, le=120, description="The longest that one call to Supabase may take, all in all."
    )
    month_run_budget_seconds: float = Field(
        default=45.0, gt=0, le=600, description="The longest that one month run takes before it asks to be sent again."
    )
    cron_secret: SecretStr | None = Field(default=None, description="What a scheduler proves itself with.")
    cron_budget_seconds: float = Field(
        default=45.0, gt=0, le=600, description="The longest that one call of a scheduler works before it answers."
    )
    aisensy_webhook_secret: SecretStr | None = Field(
        default=None, description="What AiSensy signs its notifications with; without it none is taken."
    )
    whatsapp_app_secret: SecretStr | None = Field(
        default=None, description="What Meta signs its notifications with; without it none is taken."
    )
    whatsapp_verify_token: SecretStr | None = Field(
        default=None, description="What Meta shows once, when the address of its notifications is set up."
    )
    allow_private_webhooks: bool = Field(
        default=False, description="Lets webhooks go to http:// and into private networks. For a local stack only."
    )
    public_url: str = Field(default="", description="Where people reach these functions, for links in messages.")
    whatsapp_provider: Literal["aisensy", "meta", "inbox"] | None = Field(
        default=None, description="Who carries WhatsApp messages; none by default. `inbox` is for a local stack."
    )
    aisensy_api_key: SecretStr | None = Field(default=None, description="AiSensy's key for API campaigns.")
    whatsapp_access_token: SecretStr | None = Field(default=None, description="Meta's token of a system user.")
    whatsapp_phone_number_id: str = Field(
        default="", pattern=r"^[0-9]*$", description="Meta's name for the number that sends."
    )
    email_provider: Literal["resend", "smtp", "inbox"] | None = Field(
        default=None, description="Who carries e-mails; none by default. `inbox` is for a local stack."
    )
    resend_api_key: SecretStr | None = Field(default=None, description="Resend's key.")
    smtp_url: SecretStr | None = Field(
        default=None, description="An e-mail server: smtp://user:password@host:587, or smtps:// for TLS at once."
    )
    email_from: str = Field(default="", description="Who writes e-mails, such as Lessons <lessons@example.com>.")
    model_provider: Literal["gemini", "openai", "off"] = Field(
        default="gemini",
        description="Who writes briefs and finds by meaning: `gemini`, or `openai` for whatever speaks its protocol. "
        "Nothing is sent to either without its key.",
    )
    gemini_api_key: SecretStr | None = Field(default=None, description="Turns Gemini on.")
    model_api_key: SecretStr | None = Field(
        default=None, description="Turns `openai` on. A server of one's own, at MODEL_URL, may need none."
    )
    model_url: str = Field(default="", description="Where the provider is, when it is not at its usual address.")
    model_name: str = Field(default="", max_length=100, description="Which model writes; the provider's cheap one.")
    embedding_model: str = Field(default="", max_length=100, description="Which model turns text into vectors.")
    embedding_dimension: int = Field(
        default=768, ge=2, le=4096, description="How long the vectors are. Another length has every event sent again."
    )
    model_timeout_seconds: float = Field(
        default=20.0, gt=0, le=60, description="The longest that one call of a model may take; then rules speak."
    )
    google_service_account: SecretStr | None = Field(
        default=None, description="The JSON key of the account that keeps lessons in Google Calendar, or its base64."
    )
    google_calendar_id: str = Field(default="", description="The Google calendar that lessons are kept in.")
    google_delegated_user: str = Field(
        default="", description="In whose name the account acts: it needs one to invite guests and make Meet links."
    )
    google_api_url: str = Field(
        default="https://www.googleapis.com/calendar/v3",
        description="Where Google Calendar is. Another for tests alone.",
    )
    google_token_url: str = Field(
        default="", description="Where access tokens are given. For tests alone; the key names Google's own."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Browser origins that may call, exact, separated by commas. None by default."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator(
        "supabase_url", "supabase_jwks_url", "public_url", "model_url", "google_api_url", "google_token_url"
    )
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not re.match(r"https?://[^\s/]+", value):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(origin.strip() for origin in value.split(",") if origin.strip())

    @field_validator("allowed_origins")
    @classmethod
    def _are_exact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("must be exact origins such as https://app.example.com, without path or wildcard")
        return value

    @field_validator("email_from")
    @classmethod
    def _is_sender(cls, value: str) -> str:
        if value and _SENDER.fullmatch(value) is None:
            raise ValueError("must be an address such as Lessons <lessons@example.com>")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_email_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _EMAIL_SERVER.fullmatch(value.get_secret_value()) is None:
            raise ValueError("must be smtp:// or smtps:// with user and password, if any, host and port")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < _SHORTEST_SECRET:
            raise ValueError(f"must have at least {_SHORTEST_SECRET} bytes")
        return value

    @field_validator("google_service_account")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _KEY_MEMBERS - _key_in(value.get_secret_value()).keys():
            raise ValueError("must be the JSON key of a service account, or its base64")
        return value

    @property
    def google_key(self) -> Mapping[str, str] | None:
        """The key of the service account, as its JSON file has it."""
        return _key_in(self.google_service_account.get_secret_value()) if self.google_service_account else None

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: dict[str, object]) -> dict[str, object]:
        """Fill the two addresses that follow from the project's own."""
        if not values.get("supabase_url"):
            return values
        auth = f"{str(values['supabase_url']).rstrip('/')}/auth/v1"
        return {
            "supabase_jwks_url": f"{auth}/.well-known/jwks.json",
            "supabase_jwt_issuer": auth,
            **values,
        }

    @classmethod
    def from_environment(cls) -> Self:
        """Read the process's environment.

        Raises:
            ConfigurationError: one message that names every variable that is missing or wrong.
        """
        try:
            return cls()  # pyright: ignore[reportCallIssue]  # the environment gives the required ones
        except ValidationError as error:
            problems = [
                f"  {'.'.join(map(str, fault['loc'])).upper()}: {_what_is_wrong(fault['type'], fault['msg'])}"
                for fault in error.errors(include_input=False, include_url=False)
            ]
        raise ConfigurationError("\n".join(["Lessonkeeper cannot start. In the environment:", *problems]))


def _key_in(text: str) -> Mapping[str, str]:
    """The object of a JSON text or of its base64, which survives shells and forms; empty when it is neither."""
    try:
        content: object = json.loads(text if text.lstrip().startswith("{") else base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    members = cast("Mapping[str, object]", content)
    return {name: value for name, value in members.items() if isinstance(value, str)}


def _what_is_wrong(kind: str, message: str) -> str:
    return "is missing" if kind == "missing" else message.removeprefix("Value error, ")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read at the first call.

    Raises:
        ConfigurationError: as ``Settings.from_environment``.
    """
    return Settings.from_environment()
