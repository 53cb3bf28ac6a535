"""Who the house is to Google: a service account, and the access tokens it gets for itself.

The key signs a short statement, Google gives a token for it that lasts an hour. With a delegated user the token is
that person's: only so may an account invite guests and have Meet links made.

Source: https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import httpx
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.auth.transport import Request, Response

from lib.config import Settings, settings

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials

SCOPES = (
    "https://www.googleapis.com/auth/calendar.events",
    "https://www.googleapis.com/auth/calendar.freebusy",
)
"""Events of calendars, and when calendars are busy; nothing else."""
SECONDS_FOR_A_TOKEN = 5.0
"""For one of at most three attempts."""

_PLAIN_CODE = re.compile(r"[a-z_]{1,40}")


class NoTokenError(Exception):
    """Google gave no access token. The message is for admins and quotes nothing but Google's code for it."""


class GoogleAccount:
    """The house's account.

    Args:
        key: the service account's, as its JSON file has it.
        calendar_id: the calendar that lessons are kept in.
        delegated_user: in whose name it acts, if anybody's.
        api_url: where Google Calendar is.
    """

    def __init__(self, key: Mapping[str, str], calendar_id: str, delegated_user: str | None, api_url: str) -> None:
        self.calendar_id = calendar_id
        self.api_url = api_url
        self.delegated_user = delegated_user
        self._key = key
        self._credentials: Credentials | None = None

    @property
    def may_invite(self) -> bool:
        """Whether it may name guests and have Meet links made: Google lets only people do that."""
        return self.delegated_user is not None

    async def token(self) -> str:
        """An access token that is still good for some minutes.

        Raises:
            NoTokenError: Google gave none.
        """
        if self._credentials is not None and self._credentials.valid:
            return self._text_of(self._credentials)
        return await asyncio.to_thread(self._fresh_token)

    def forget_token(self) -> None:
        """Get another one next time, because Google did not take this one."""
        self._credentials = None

    def _fresh_token(self) -> str:
        try:
            credentials = _credentials_of(self._key, self.delegated_user)
            credentials.refresh(_Asking())  # pyright: ignore[reportUnknownMemberType]  # google-auth has no types
        except (GoogleAuthError, ValueError) as error:
            raise NoTokenError(_why(error)) from None
        self._credentials = credentials
        return self._text_of(credentials)

    @staticmethod
    def _text_of(credentials: "Credentials") -> str:
        return cast("str", credentials.token)  # pyright: ignore[reportUnknownMemberType]


def _credentials_of(key: Mapping[str, str], delegated_user: str | None) -> "Credentials":
    # A fifth of a second to import, which only those who speak to Google should pay.
    from google.oauth2.service_account import Credentials  # noqa: PLC0415

    read = Credentials.from_service_account_info  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return read(key, scopes=SCOPES, subject=delegated_user)


def _why(error: Exception) -> str:
    match error:
        case RefreshError(args=[_, {"error": str(code)}, *_]) if _PLAIN_CODE.fullmatch(code):
            return f"Google gave no access token: {code}."
        case TransportError():
            return "Google gave no access token: no sensible answer came."
        case RefreshError():
            return "Google gave no access token."
        case _:
            return "GOOGLE_SERVICE_ACCOUNT holds no usable key."


class _Answered(Response):
    """An answer of httpx, as google-auth reads one."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def data(self) -> bytes:
        return self._response.content


class _Asking(Request):
    """Asks for google-auth by httpx, as everything else is asked; google-auth itself would bring requests."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_more: object,
    ) -> _Answered:
        try:
            with httpx.Client(timeout=timeout or SECONDS_FOR_A_TOKEN, trust_env=False) as client:
                response = client.request(method, url, content=body, headers=headers)
            # google-auth would stumble over a page that pretends to be a token.
            if response.is_success and not isinstance(response.json(), dict):
                raise TransportError("no object")
        except (httpx.HTTPError, ValueError) as error:
            raise TransportError(type(error).__name__) from None
        return _Answered(response)


def account_of(config: Settings) -> GoogleAccount | None:
    """The account that the settings tell of, if they tell enough."""
    key = config.google_key
    if missing_for(config) or key is None:
        return None
    if config.google_token_url:
        key = {**key, "token_uri": config.google_token_url}
    return GoogleAccount(key, config.google_calendar_id, config.google_delegated_user or None, config.google_api_url)


def missing_for(config: Settings) -> Sequence[str]:
    """The variables without which there is no account."""
    given = {"GOOGLE_SERVICE_ACCOUNT": config.google_key, "GOOGLE_CALENDAR_ID": config.google_calendar_id}
    return [name for name, value in given.items() if not value]


@lru_cache(maxsize=1)
def account() -> GoogleAccount | None:
    """The process's account, which keeps its token; None where Google is off."""
    return account_of(settings())


def missing() -> Sequence[str]:
    """The variables of this process without which Google is off."""
    return missing_for(settings())
