"""Endpoints of the business's own systems: entered, signed for, disabled when they fail, deleted, listed."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.dispatch import EVENT_TYPE, URL, claim, delivery, endpoint, happen, settle, told
from tests.db.lessons import DAY, HOUR, audit, instant
from tests.house import BILAL, LENA, NADIA, NOW, Person

BEGAN = instant(NOW)
SECOND = timedelta(seconds=1)


def listed(db: Database) -> list[dict[str, Any]]:
    return db.call(NADIA, "list_webhook_endpoints")["endpoints"]


def change(db: Database, endpoint_id: UUID, **changes: object) -> dict[str, Any]:
    parameters = {f"p_{name}": value for name, value in changes.items()}
    return db.call(NADIA, "update_webhook_endpoint", p_endpoint_id=endpoint_id, **parameters)


# --- entering and changing --------------------------------------------------------------------------------


def test_an_endpoint_is_entered_with_a_secret_that_is_shown_once(db: Database) -> None:
    made = db.call(
        NADIA,
        "create_webhook_endpoint",
        p_url=URL,
        p_description="The books",
        p_event_types=["session.started", EVENT_TYPE, EVENT_TYPE],
    )
    secret = made.pop("secret")
    assert made == {
        "id": made["id"], "url": URL, "description": "The books", "event_types": [EVENT_TYPE, "session.started"],
        "is_enabled": True, "disabled_reason": None, "failing_since": None,
        "created_at": "2026-02-26T09:00:00+00:00", "updated_at": "2026-02-26T09:00:00+00:00",
    }  # fmt: skip
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert listed(db) == [made]


def test_every_secret_is_another_one(db: Database) -> None:
    made = [db.call(NADIA, "create_webhook_endpoint", p_url=URL)["secret"] for _ in range(20)]
    assert len({secret[6:22] for secret in made}) == len({secret[-22:] for secret in made}) == 20


def test_an_endpoint_without_types_is_told_everything(db: Database) -> None:
    without: list[list[str] | None] = [None, []]
    for event_types in without:
        made = db.call(NADIA, "create_webhook_endpoint", p_url=URL, p_event_types=event_types)
        assert made["event_types"] is None
        happen(db)
        assert db.value("select count(*) from public.deliveries where subscription_id = %s", UUID(made["id"])) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://a.test", "http://a.test:8080/x?y=z#w", "https://[2001:db8::1]/x", "https://a.test/p@q", "https://a.test?x",
    ],
)  # fmt: skip
def test_an_address_is_one(db: Database, url: str) -> None:
    assert db.call(NADIA, "create_webhook_endpoint", p_url=url)["url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "", " ", "a.test", "ftp://a.test", "https://", "https:///x", "https://user@a.test", "https://u:p@a.test/x",
        "https://a.test\\@b.test", "https://a.test/x y", "https://a.test/\n", " https://a.test", "HTTPS://a.test",
        "https://?x", "https://[a.test", "https://[::1]b.test", "https://a.test/" + "x" * 2000, None,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(db: Database, url: str | None) -> None:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, "create_webhook_endpoint", p_url=url)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert listed(db) == []
    endpoint_id = endpoint(db)
    if url is not None:
        with pytest.raises(Refused, match="422 invalid: An address begins with"):
            change(db, endpoint_id, url=url)


@pytest.mark.parametrize("description", ["two\nlines", " blank", "x" * 201])
def test_a_description_is_a_line(db: Database, description: str) -> None:
    with pytest.raises(Refused, match="422 invalid: A description is one line"):
        db.call(NADIA, "create_webhook_endpoint", p_url=URL, p_description=description)


def test_a_filter_names_types_that_there_are(db: Database) -> None:
    endpoint_id = endpoint(db, EVENT_TYPE)
    wanted = [EVENT_TYPE, "session.unheard", "", "session.unheard"]
    for function, arguments in (
        ("create_webhook_endpoint", {"p_url": URL}),
        ("update_webhook_endpoint", {"p_endpoint_id": endpoint_id}),
    ):
        with pytest.raises(Refused) as refused:
            db.call(NADIA, function, p_event_types=wanted, **arguments)
        assert (refused.value.status, refused.value.code) == (422, "invalid")
        assert refused.value.extra == {"field": "event_types", "unknown": ["", "session.unheard"]}
    assert [each["event_types"] for each in listed(db)] == [[EVENT_TYPE]]


def test_an_endpoint_is_changed_where_something_is_said_and_stays_as_it_is_elsewhere(db: Database) -> None:
    endpoint_id = endpoint(db, EVENT_TYPE)
    db.set_clock(BEGAN + HOUR)
    before = listed(db)[0]
    assert change(db, endpoint_id) == before | {"updated_at": "2026-02-26T10:00:00+00:00"}
    wanted = listed(db)[0]
    changes: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"url": "https://other.test"}, {"url": "https://other.test"}),
        ({"description": "The books"}, {"description": "The books"}),
        ({"event_types": ["match.ended"]}, {"event_types": ["match.ended"]}),
        ({"event_types": []}, {"event_types": None}),
        ({"description": ""}, {"description": None}),
        ({"is_enabled": False}, {"is_enabled": False, "disabled_reason": "by_admin"}),
        ({"is_enabled": True}, {"is_enabled": True, "disabled_reason": None}),
    ]
    for said, holds in changes:
        wanted = wanted | holds
        assert change(db, endpoint_id, **said) == wanted
        assert listed(db) == [wanted]


def test_every_change_of_an_endpoint_is_audited_and_no_secret_is(db: Database) -> None:
    endpoint_id = endpoint(db)
    change(db, endpoint_id, url="https://other.test")
    change(db, endpoint_id, event_types=[EVENT_TYPE])
    secret = db.call(NADIA, "rotate_webhook_secret", p_endpoint_id=endpoint_id)["secret"]
    change(db, endpoint_id, is_enabled=False)
    db.call(NADIA, "delete_webhook_endpoint", p_endpoint_id=endpoint_id)
    assert audit(db, endpoint_id) == [
        (action, "admin", NADIA.id)
        for action in (
            "webhook_endpoint_created", "webhook_endpoint_updated", "subscription_updated", "webhook_secret_rotated",
            "subscription_updated", "webhook_endpoint_updated", "webhook_endpoint_updated",
        )
    ]  # fmt: skip
    assert db.value("select count(*) from public.audit_logs a where a::text like %s", f"%{secret}%") == 0
    assert db.value("select count(*) from public.audit_logs a where a::text like '%%whsec%%'") == 0


def test_an_endpoint_that_is_not_there_is_not_found(db: Database) -> None:
    gone = endpoint(db)
    db.call(NADIA, "delete_webhook_endpoint", p_endpoint_id=gone)
    for endpoint_id in (uuid4(), gone):
        for function in ("update_webhook_endpoint", "delete_webhook_endpoint", "rotate_webhook_secret"):
            with pytest.raises(Refused, match="404 not_found"):
                db.call(NADIA, function, p_endpoint_id=endpoint_id)
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "list_deliveries", p_endpoint_id=uuid4())


@pytest.mark.parametrize("who", [BILAL, LENA])
def test_endpoints_are_the_admins_affair(db: Database, who: Person) -> None:
    endpoint_id = endpoint(db)
    for function in ("update_webhook_endpoint", "delete_webhook_endpoint", "rotate_webhook_secret"):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(who, function, p_endpoint_id=endpoint_id)
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "create_webhook_endpoint", p_url=URL)
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "list_webhook_endpoints")


def test_the_list_names_the_types_of_event_there_are(db: Database) -> None:
    types = db.call(NADIA, "list_webhook_endpoints")["event_types"]
    assert [each["name"] for each in types] == sorted(each["name"] for each in types)
    assert {"name": EVENT_TYPE, "schema_version": 1, "description": "A session took place."} in types


# --- secrets ----------------------------------------------------------------------------------------------


def secrets_sent(db: Database) -> list[str]:
    """The secrets that the next message is signed with."""
    happen(db)
    (claimed,) = claim(db)
    return claimed["secrets"]


def test_a_replaced_secret_signs_beside_the_new_one_for_a_day(db: Database) -> None:
    made = db.call(NADIA, "create_webhook_endpoint", p_url=URL)
    endpoint_id, old = UUID(made["id"]), made["secret"]
    assert secrets_sent(db) == [old]
    turned = db.call(NADIA, "rotate_webhook_secret", p_endpoint_id=endpoint_id)
    new = turned.pop("secret")
    assert instant(turned.pop("previous_valid_until")) == BEGAN + DAY
    assert turned == listed(db)[0]
    assert new != old
    assert secrets_sent(db) == [new, old]
    db.run("delete from public.deliveries")
    db.set_clock(BEGAN + DAY - SECOND)
    assert secrets_sent(db) == [new, old]
    db.run("delete from public.deliveries")
    db.set_clock(BEGAN + DAY)
    assert secrets_sent(db) == [new]


def test_secrets_replaced_twice_in_a_day_all_sign_and_old_ones_are_thrown_away(db: Database) -> None:
    made = db.call(NADIA, "create_webhook_endpoint", p_url=URL)
    endpoint_id, secrets = UUID(made["id"]), [made["secret"]]
    for hours in (1, 2):
        db.set_clock(BEGAN + hours * HOUR)
        secrets.insert(0, db.call(NADIA, "rotate_webhook_secret", p_endpoint_id=endpoint_id)["secret"])
    assert secrets_sent(db) == secrets
    db.set_clock(BEGAN + 25 * HOUR)
    secrets.insert(0, db.call(NADIA, "rotate_webhook_secret", p_endpoint_id=endpoint_id)["secret"])
    kept = [secret for (secret,) in db.rows("select secret from private.webhook_secrets order by id desc")]
    assert kept == secrets[:3]


def test_no_answer_but_the_two_that_make_a_secret_shows_it_and_nobody_reads_the_table(db: Database) -> None:
    made = db.call(NADIA, "create_webhook_endpoint", p_url=URL)
    endpoint_id, delivery_id = UUID(made["id"]), happen(db) and db.value("select id from public.deliveries")
    answers = [
        db.call(NADIA, "list_webhook_endpoints"),
        change(db, endpoint_id, description="x"),
        db.call(NADIA, "list_deliveries", p_endpoint_id=endpoint_id),
        db.call(NADIA, "get_delivery", p_delivery_id=delivery_id),
        db.call(NADIA, "delete_webhook_endpoint", p_endpoint_id=endpoint_id),
    ]
    assert "whsec_" not in str(answers)
    assert db.value("select count(*) from private.webhook_secrets") == 0, "deleting throws the secrets away"
    for who in (NADIA, BILAL, LENA, "service_role", "authenticated", "anon"):
        with pytest.raises(Exception, match="permission denied for schema private"):
            db.rows("select * from private.webhook_secrets", who=who)


# --- health -----------------------------------------------------------------------------------------------


def fail(db: Database, outcome: str = "failed") -> dict[str, int]:
    happen(db)
    return settle(db, claim(db)[-1], outcome, error="no")


def state(db: Database) -> tuple[bool, str | None, str | None]:
    (shown,) = listed(db)
    return shown["is_enabled"], shown["disabled_reason"], shown["failing_since"]


def test_an_endpoint_that_fails_for_five_days_without_a_success_is_disabled(db: Database) -> None:
    endpoint_id = endpoint(db)
    fail(db, "refused")
    since = "2026-02-26T09:00:00+00:00"
    assert state(db) == (True, None, since)
    db.set_clock(BEGAN + 5 * DAY - SECOND)
    fail(db, "refused")
    assert state(db) == (True, None, since)
    db.set_clock(BEGAN + 5 * DAY)
    fail(db)
    assert state(db) == (False, "failing", since)
    assert audit(db, endpoint_id)[-2:] == [
        ("subscription_updated", "service", None),
        ("webhook_endpoint_updated", "service", None),
    ]


def test_one_success_is_a_new_beginning(db: Database) -> None:
    endpoint(db)
    fail(db, "refused")
    db.set_clock(BEGAN + 4 * DAY)
    happen(db)
    assert settle(db, claim(db)[0]) == told(delivered=1)
    assert state(db) == (True, None, None)
    db.set_clock(BEGAN + 6 * DAY)
    fail(db, "refused")
    assert state(db) == (True, None, "2026-03-04T09:00:00+00:00")


def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once(db: Database) -> None:
    endpoint(db)
    assert fail(db, "gone") == told(dead=1)
    assert state(db)[:2] == (False, "gone")


def test_what_an_admin_disabled_stays_so_whatever_is_reported(db: Database) -> None:
    endpoint_id = endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    change(db, endpoint_id, is_enabled=False)
    assert settle(db, claimed, "gone") == told(dead=1)
    assert state(db)[:2] == (False, "by_admin")


def test_what_is_pending_for_a_disabled_endpoint_waits_and_goes_on_when_it_is_enabled(db: Database) -> None:
    endpoint_id = endpoint(db)
    happen(db)
    fail(db, "gone")
    happen(db)
    assert claim(db) == []
    db.set_clock(BEGAN + 10 * DAY)
    assert claim(db) == []
    change(db, endpoint_id, is_enabled=True)
    assert state(db) == (True, None, None)
    (waited,) = claim(db)
    assert settle(db, waited) == told(delivered=1)
    assert db.value("select count(*) from public.deliveries") == 2, "what happened meanwhile is in the list of events"


def test_an_endpoint_that_failed_long_ago_and_was_enabled_has_five_days_again(db: Database) -> None:
    endpoint_id = endpoint(db)
    fail(db, "gone")
    db.set_clock(BEGAN + 10 * DAY)
    change(db, endpoint_id, is_enabled=True)
    fail(db)
    assert state(db)[:2] == (True, None)


def test_one_endpoints_failure_is_not_anothers(db: Database) -> None:
    endpoint(db, "match.ended")
    other = endpoint(db, EVENT_TYPE)
    fail(db, "gone")
    assert {each["id"]: each["is_enabled"] for each in listed(db)}[str(other)] is False
    assert [each["is_enabled"] for each in listed(db)].count(True) == 1


# --- deleting and listing ---------------------------------------------------------------------------------


def test_deleting_cancels_what_is_pending_and_keeps_the_log(db: Database) -> None:
    endpoint_id = endpoint(db)
    happen(db)
    (done,) = claim(db)
    settle(db, done)
    happen(db)
    (leased,) = claim(db)
    happen(db)
    db.call(NADIA, "delete_webhook_endpoint", p_endpoint_id=endpoint_id)
    assert listed(db) == []
    assert settle(db, leased) == told(stale=1)
    happen(db)
    shown = db.call(NADIA, "list_deliveries", p_endpoint_id=endpoint_id)["deliveries"]
    assert [each["status"] for each in shown] == ["cancelled", "cancelled", "delivered"]
    for each, status in ((leased, "cancelled"), (done, "delivered")):
        with pytest.raises(Refused) as refused:
            db.call(NADIA, "replay_delivery", p_delivery_id=each["delivery_id"])
        assert (refused.value.status, refused.value.extra) == (409, {"from": status, "to": "pending"})
    with pytest.raises(Refused, match="409 use_function"):
        db.run("delete from public.webhook_endpoints")


def test_deliveries_are_listed_newest_first_a_page_at_a_time(db: Database) -> None:
    endpoint_id, _ = endpoint(db), endpoint(db)
    expected = [f"evt_{happen(db)}" for _ in range(5)][::-1]
    got: list[str] = []
    after: str | None = None
    for length in (2, 2, 1):
        page = db.call(NADIA, "list_deliveries", p_endpoint_id=endpoint_id, p_after=after, p_limit=2)
        assert len(page["deliveries"]) == length
        assert page["has_more"] == (page["next"] is not None) == (length == 2)
        got += [each["event_id"] for each in page["deliveries"]]
        after = page["next"]
    assert got == expected


def test_deliveries_are_listed_by_status(db: Database) -> None:
    endpoint_id = endpoint(db)
    happen(db)
    done = claim(db)[0]
    settle(db, done)
    happen(db)
    for status, count in (("delivered", 1), ("pending", 1), ("dead", 0)):
        shown = db.call(NADIA, "list_deliveries", p_endpoint_id=endpoint_id, p_status=status)["deliveries"]
        assert [each["status"] for each in shown] == [status] * count
    assert delivery(db, done["delivery_id"]) == "delivered"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"p_limit": 0}, "limit"),
        ({"p_limit": 201}, "limit"),
        ({"p_after": "x"}, "after"),
        ({"p_after": "evt_"}, "after"),
    ],
)
def test_a_list_of_deliveries_is_bounded(db: Database, options: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, "list_deliveries", p_endpoint_id=endpoint(db), **options)
    assert (refused.value.status, refused.value.extra) == (422, {"field": field})
