"""Studio, as a browser on this machine meets it: no key, no token."""

import re

import httpx
import pytest

from scripts.stack import Stack
from tests.live.served import Snapshot

pytestmark = pytest.mark.live


@pytest.fixture
def browser(served: Stack, seeded: Snapshot) -> httpx.Client:
    seeded.restore()
    return httpx.Client(base_url=served.env()["STUDIO_URL"])


def test_studios_page_finds_its_scripts_and_styles(browser: httpx.Client) -> None:
    with browser:
        files = re.findall(r'"(/static/assets/[^"]+)"', browser.get("/").text)
        kinds = {browser.get(file).headers["Content-Type"].partition(";")[0] for file in files}
    assert kinds == {"text/javascript", "text/css"}


def test_an_admin_looks_at_rows_and_edits_them_as_postgres(browser: httpx.Client) -> None:
    with browser:
        assert len(browser.get("/rest/v1/packages").raise_for_status().json()) == 4
        browser.patch("/rest/v1/settings?only_row=is.true", json={"sequence_lock": False}).raise_for_status()
        (audited,) = browser.get("/rest/v1/audit_logs?entity_type=eq.settings").raise_for_status().json()
    assert audited["actor_role"] == "studio"


def test_no_other_site_may_use_studios_door(browser: httpx.Client) -> None:
    with browser:
        answer = browser.get("/rest/v1/packages", headers={"Origin": "https://elsewhere.test"})
    assert answer.status_code in {401, 403}
