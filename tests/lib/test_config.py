"""What the environment may say, and what is said when it says too little."""

import base64
import json

import pytest
from pydantic import SecretStr

from lib.config import ConfigurationError, Settings

REQUIRED = {"SUPABASE_URL": "https://abc.supabase.co/", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
SECRET = "a secret of the required length: 32 bytes"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_two_variables_are_enough_and_the_rest_follows() -> None:
    settings = Settings.from_environment()
    assert settings.supabase_url == "https://abc.supabase.co"
    assert settings.supabase_jwks_url == "https://abc.supabase.co/auth/v1/.well-known/jwks.json"
    assert settings.supabase_jwt_issuer == "https://abc.supabase.co/auth/v1"
    assert settings.supabase_timeout_seconds == 10
    assert settings.allowed_origins == ()
    assert settings.allow_private_webhooks is False
    assert settings.supabase_jwt_secret is settings.supabase_secret_key is settings.cron_secret is None


def test_what_is_given_wins_over_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_JWKS_URL", "https://keys.example.com/jwks.json")
    monkeypatch.setenv("SUPABASE_JWT_ISSUER", "https://auth.example.com")
    settings = Settings.from_environment()
    assert settings.supabase_jwks_url == "https://keys.example.com/jwks.json"
    assert settings.supabase_jwt_issuer == "https://auth.example.com"


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "")
    assert Settings.from_environment().supabase_jwt_secret is None


def test_what_is_missing_is_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REQUIRED:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment()
    assert str(raised.value).splitlines() == [
        "Lessonkeeper cannot start. In the environment:",
        "  SUPABASE_URL: is missing",
        "  SUPABASE_PUBLISHABLE_KEY: is missing",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "abc.supabase.co"),
        ("SUPABASE_JWKS_URL", "file:///etc/passwd"),
        ("SUPABASE_JWT_SECRET", "short-canary"),
        ("SUPABASE_TIMEOUT_SECONDS", "0"),
        ("SUPABASE_TIMEOUT_SECONDS", "soon"),
        ("ALLOW_PRIVATE_WEBHOOKS", "canary"),
        ("MODEL_PROVIDER", "canary"),
        ("MODEL_URL", "canary.example.com"),
        ("EMBEDDING_DIMENSION", "1"),
        ("MODEL_TIMEOUT_SECONDS", "0"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com/"),
        ("ALLOWED_ORIGINS", "app.example.com"),
        ("ALLOWED_ORIGINS", "null"),
        ("LOG_LEVEL", "loud"),
        ("PUBLIC_URL", "canary.example.com"),
        ("WHATSAPP_PROVIDER", "canary"),
        ("WHATSAPP_PHONE_NUMBER_ID", "+canary"),
        ("EMAIL_PROVIDER", "canary"),
        ("EMAIL_FROM", "canary"),
        ("EMAIL_FROM", "Canary <canary>"),
        ("EMAIL_FROM", "A\nBcc: canary@example.com <b@example.com>"),
        ("SMTP_URL", "https://canary.example.com"),
        ("SMTP_URL", "smtp://canary@example.com:587:1"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as raised:
        Settings.from_environment()
    assert "canary" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_origins_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", " https://app.example.com ,http://localhost:3000,, http://[::1]:3000 ")
    assert Settings.from_environment().allowed_origins == (
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:3000",
    )


def test_printing_the_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "CRON_SECRET", "AISENSY_API_KEY", "RESEND_API_KEY",
        "GEMINI_API_KEY", "MODEL_API_KEY",
    ):  # fmt: skip
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("WHATSAPP_ACCESS_TOKEN", SECRET)
    monkeypatch.setenv("SMTP_URL", f"smtp://me:{SECRET.replace(' ', '').replace(':', '')}@mail.example.com")
    settings = Settings.from_environment()
    assert isinstance(settings.cron_secret, SecretStr)
    assert settings.cron_secret.get_secret_value() == SECRET
    told = f"{settings!r}{settings}{settings.model_dump()}"
    assert SECRET not in told
    assert "mail.example.com" not in told


@pytest.mark.parametrize(
    "sender", ["lessons@example.com", "Lessons <lessons@example.com>", "Häuser & Söhne <a.b@c-d.example>"]
)
def test_a_sender_is_an_address_with_or_without_a_name(monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    monkeypatch.setenv("EMAIL_FROM", sender)
    assert Settings.from_environment().email_from == sender


KEY = {"type": "service_account", "client_email": "a@b.test", "private_key": "x", "token_uri": "https://t.test", "n": 1}


@pytest.mark.parametrize("value", [json.dumps(KEY), base64.b64encode(json.dumps(KEY).encode()).decode()])
def test_googles_key_is_json_or_its_base64(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", value)
    settings = Settings.from_environment()
    assert settings.google_key == {name: value for name, value in KEY.items() if isinstance(value, str)}
    assert "a@b.test" not in repr(settings)


@pytest.mark.parametrize(
    "value", ["{", "[]", "null", "{}", "AAAA", "no base64!", json.dumps({**KEY, "private_key": 1})]
)
def test_what_is_no_key_of_google_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", value)
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment()
    assert str(raised.value).splitlines()[1:] == [
        "  GOOGLE_SERVICE_ACCOUNT: must be the JSON key of a service account, or its base64"
    ]


def test_google_is_off_unless_it_is_set_up_and_is_where_google_is() -> None:
    settings = Settings.from_environment()
    assert settings.google_key is None
    assert settings.google_api_url == "https://www.googleapis.com/calendar/v3"
    assert settings.google_token_url == ""
