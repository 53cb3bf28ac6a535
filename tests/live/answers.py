"""What comes back: an answer of the status that was expected, or a problem document in the form we promise."""

import httpx

from tests.live.served import Row

MEMBERS = {"type", "title", "status", "code", "detail", "request_id"}
"""Of every problem document."""


def answer(response: httpx.Response, status: int = 200) -> Row:
    """The JSON object of an answer."""
    assert response.status_code == status, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json()


def problem(response: httpx.Response, status: int, code: str) -> Row:
    """The problem document of a refusal."""
    document = any_problem(response)
    assert (response.status_code, document["code"]) == (status, code), document
    return document


def any_problem(response: httpx.Response) -> Row:
    """A problem document, whatever it says: of the right media type, with the stable members, true to its headers."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    document: Row = response.json()
    assert document.keys() >= MEMBERS
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:lessonkeeper:problem:{document['code']}"
    assert document["request_id"] == response.headers["X-Request-Id"]
    worth_repeating = response.status_code in {429, 503} or document["code"] == "still_running"
    assert ("Retry-After" in response.headers) == worth_repeating
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    return document
