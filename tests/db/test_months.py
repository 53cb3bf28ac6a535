"""Chapter 11: many matches' months in one walk, and the package that follows a package."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lib.recurrence import ScheduleInputs, plan, plan_hash
from tests.database import Database, Refused
from tests.db.lessons import audit, events, occurrences_of
from tests.house import (
    BILAL,
    ENGLISH,
    HARRIET,
    IELTS,
    LENA,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OLIVER,
    PHYSICS,
    ZARA,
    Match,
    Person,
)
from tests.plans import sell
from tests.proof.clients import Clients, split

MARCH = date(2026, 3, 1)
MATCHES = (MATHEMATICS, ENGLISH, PHYSICS, IELTS)
Plans = list[dict[str, Any]]


def read(db: Database, month: object = MARCH, **options: object) -> dict[str, Any]:
    return db.call(NADIA, "month_inputs", p_month=month, **{f"p_{name}": value for name, value in options.items()})


def packages_of(answer: Mapping[str, Any]) -> list[UUID]:
    return [UUID(each["package_id"]) for each in answer["inputs"]]


def plans_of(answer: Mapping[str, Any], *, skip_conflicts: bool = False) -> Plans:
    """The plans that lib makes of what was read."""
    plans: Plans = []
    for row in answer["inputs"]:
        inputs = ScheduleInputs.model_validate(row)
        assert inputs.pattern is not None
        planned = plan(inputs, inputs.pattern, skip_conflicts=skip_conflicts)
        plans.append(
            {
                "match_id": row["match_id"],
                "package_id": row["package_id"],
                "fingerprint": inputs.fingerprint,
                "occurrences": occurrences_of(planned),
                "plan_hash": plan_hash(planned, inputs.fingerprint),
            }
        )
    return plans


def write(db: Database, plans: object, **options: object) -> list[dict[str, Any]]:
    return db.call(NADIA, "generate_month", p_plans=Jsonb(plans), **options)["results"]


def refusal_of(db: Database, who: Person | str | None, function: str, **arguments: object) -> tuple[int, str, Any]:
    with pytest.raises(Refused) as refused:
        db.call(who, function, **arguments)
    return refused.value.status, refused.value.code, refused.value.extra.get("field")


def sessions(db: Database, package_id: object) -> int:
    return db.value("select count(*) from public.sessions where package_id = %s", package_id)


# --- what a month consists of ---------------------------------------------------------------------------


def test_the_packages_of_a_month_come_in_order_of_id(db: Database) -> None:
    answer = read(db)
    assert packages_of(answer) == sorted(match.package_id for match in MATCHES)
    assert (answer["has_more"], answer["left"]) == (False, 4)


@pytest.mark.parametrize("match", MATCHES, ids=lambda match: str(match.id)[-1])
def test_a_month_reads_of_a_package_what_a_preview_of_it_reads(db: Database, match: Match) -> None:
    alone = db.call(NADIA, "schedule_inputs", p_match_id=match.id, p_package_id=match.package_id)
    (in_the_month,) = read(db, match_ids=[match.id])["inputs"]
    assert in_the_month == alone


@pytest.mark.parametrize(
    ("start", "end", "is_in_march"),
    [
        ("2026-02-01", "2026-02-28", False),
        ("2026-02-01", "2026-03-01", True),
        ("2026-03-31", "2026-05-04", True),
        ("2026-04-01", "2026-05-05", False),
        ("2026-03-10", "2026-03-10", True),
        ("2025-12-01", "2026-12-01", True),
    ],
)
def test_a_window_that_meets_the_month_by_a_day_is_in_it(
    db: Database, start: str, end: str, *, is_in_march: bool
) -> None:
    sold = sell(db, MATHEMATICS.request_id, date.fromisoformat(start), date.fromisoformat(end))
    assert (sold in packages_of(read(db))) == is_in_march


def test_every_month_has_its_own_last_day(db: Database) -> None:
    sold = sell(db, MATHEMATICS.request_id, date(2028, 2, 29), date(2028, 2, 29))
    assert packages_of(read(db, "2028-02-01")) == [sold]
    assert packages_of(read(db, "2028-03-01")) == []
    december = sell(db, MATHEMATICS.request_id, date(2027, 12, 31), date(2028, 1, 1))
    assert packages_of(read(db, "2027-12-01")) == packages_of(read(db, "2028-01-01")) == [december]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_a_walk_in_pages_sees_every_package_once(db: Database, limit: int) -> None:
    sold = [sell(db, match.request_id, MARCH, MARCH + timedelta(30)) for match in (*MATCHES, *MATCHES, MATHEMATICS)]
    every = sorted([*sold, *(match.package_id for match in MATCHES)])
    seen: list[UUID] = []
    while True:
        page = read(db, limit=limit, after_package_id=seen[-1] if seen else None)
        assert page["left"] == len(every) - len(seen)
        seen += packages_of(page)
        assert page["has_more"] == (seen != every)
        assert len(page["inputs"]) == limit or not page["has_more"]
        if not page["has_more"]:
            break
    assert seen == every


def test_a_month_may_be_of_some_matches_alone(db: Database) -> None:
    assert set(packages_of(read(db, match_ids=[PHYSICS.id, IELTS.id, uuid4()]))) == {
        PHYSICS.package_id,
        IELTS.package_id,
    }
    page = read(db, match_ids=[PHYSICS.id, IELTS.id], limit=1)
    assert (len(page["inputs"]), page["has_more"], page["left"]) == (1, True, 2)
    assert read(db, match_ids=[uuid4()])["inputs"] == []


def test_a_match_without_a_pattern_is_read_too(db: Database) -> None:
    db.run("update public.matches set schedule_pattern = null where id = %s", ENGLISH.id)
    (inputs,) = read(db, match_ids=[ENGLISH.id])["inputs"]
    assert inputs["pattern"] is None


def test_what_has_sessions_is_not_read_again_even_when_all_are_cancelled(db: Database) -> None:
    write(db, plans_of(read(db, match_ids=[ENGLISH.id])))
    assert ENGLISH.package_id not in packages_of(read(db))
    db.run("update public.sessions set status = 'cancelled' where package_id = %s", ENGLISH.package_id)
    assert set(packages_of(read(db))) == {match.package_id for match in MATCHES} - {ENGLISH.package_id}


def test_ended_matches_and_cancelled_packages_are_left_out(db: Database) -> None:
    db.call(NADIA, "end_match", p_match_id=ENGLISH.id, p_reason="Moved away")
    db.call(NADIA, "update_package", p_package_id=PHYSICS.package_id, p_status="cancelled")
    assert set(packages_of(read(db))) == {MATHEMATICS.package_id, IELTS.package_id}
    again = db.call(NADIA, "create_match", p_request_id=ENGLISH.request_id, p_tutor_id=BILAL.id)
    (inputs,) = read(db, match_ids=[again["id"]])["inputs"]
    assert (inputs["match_id"], inputs["package_id"]) == (again["id"], str(ENGLISH.package_id))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"p_month": None}, "month"),
        ({"p_month": "2026-03-02"}, "month"),
        ({"p_month": "infinity"}, "month"),
        ({"p_month": "-infinity"}, "month"),
        ({"p_month": MARCH, "p_limit": 0}, "limit"),
        ({"p_month": MARCH, "p_limit": 101}, "limit"),
    ],
)
def test_a_month_begins_on_its_first_day_and_a_page_is_bounded(
    db: Database, options: dict[str, object], field: str
) -> None:
    assert refusal_of(db, NADIA, "month_inputs", **options) == (422, "invalid", field)


@pytest.mark.parametrize("who", [HARRIET, OLIVER, NEWCOMER], ids=lambda person: person.email)
def test_only_admins_run_a_month(db: Database, who: Person) -> None:
    plans = plans_of(read(db))
    assert refusal_of(db, who, "month_inputs", p_month=MARCH)[:2] == (403, "not_allowed")
    assert refusal_of(db, who, "generate_month", p_plans=Jsonb(plans))[:2] == (403, "not_allowed")
    assert refusal_of(db, who, "renew_package", p_package_id=ENGLISH.package_id)[:2] == (403, "not_allowed")
    assert db.value("select count(*) from public.sessions") == 0


@pytest.mark.parametrize("call", ["month_inputs(current_date)", "generate_month('[]')"])
def test_an_anonymous_caller_may_not_even_ask(db: Database, call: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.rows(f"select public.{call}", who="anon")


# --- writing it -----------------------------------------------------------------------------------------


def test_a_month_is_written_as_if_each_match_were_generated_by_itself(db: Database) -> None:
    answer = read(db)
    plans = plans_of(answer)
    results = write(db, plans)
    tiers = {str(match.package_id): match.tier for match in MATCHES}
    assert [(each["package_id"], each["created"]) for each in results] == [
        (str(each), tiers[str(each)]) for each in packages_of(answer)
    ]
    planned = {each["match_id"]: each["occurrences"] for each in plans}
    for match in MATCHES:
        starts = db.rows(
            "select scheduled_start_utc, scheduled_end_utc, sequence_number from public.sessions"
            " where package_id = %s order by sequence_number",
            match.package_id,
        )
        assert [(start.isoformat(), end.isoformat()) for start, end, _ in starts] == [
            (each["start_utc"], each["end_utc"]) for each in planned[str(match.id)]
        ]
        assert [number for _, _, number in starts] == list(range(1, match.tier + 1))
        told = [each for each in audit(db, match.id) if each[0] == "schedule_generated"]
        assert told == [("schedule_generated", "admin", NADIA.id)]
        assert events(db, match.id) == ["schedule.generated"]
        assert db.rows(
            "select m.status::text, r.status::text from public.matches m join public.requests r on r.id = request_id"
            " where m.id = %s",
            match.id,
        ) == [("active", "active")]
    assert read(db)["inputs"] == []


def test_a_month_written_twice_creates_nothing_more(db: Database) -> None:
    plans = plans_of(read(db))
    write(db, plans)
    assert [each["created"] for each in write(db, plans)] == [0, 0, 0, 0]
    assert [sessions(db, match.package_id) for match in MATCHES] == [match.tier for match in MATCHES]


def test_a_plan_that_comes_twice_in_a_chunk_counts_once(db: Database) -> None:
    plans = plans_of(read(db, match_ids=[ENGLISH.id]))
    assert [each["created"] for each in write(db, plans * 2)] == [8, 0]


def ended(db: Database, _: Plans) -> None:
    db.run("update public.matches set status = 'ended' where id = %s", ENGLISH.id)


def cancelled(db: Database, _: Plans) -> None:
    db.call(NADIA, "update_package", p_package_id=ENGLISH.package_id, p_status="cancelled")


def another_pattern(db: Database, _: Plans) -> None:
    db.run(
        'update public.matches set schedule_pattern = schedule_pattern || \'{"time": "08:00"}\' where id = %s',
        ENGLISH.id,
    )


def past(_: Database, plans: Plans) -> None:
    plans[0]["occurrences"][0] = {"start_utc": "2026-02-24T17:00:00+00:00", "end_utc": "2026-02-24T18:00:00+00:00"}


def short(_: Database, plans: Plans) -> None:
    plans[0]["occurrences"] = plans[0]["occurrences"][:5]


def empty(_: Database, plans: Plans) -> None:
    plans[0]["occurrences"] = []


def long(_: Database, plans: Plans) -> None:
    plans[0]["occurrences"] = plans[0]["occurrences"] * 3


def backwards(_: Database, plans: Plans) -> None:
    (first, *_rest) = plans[0]["occurrences"]
    first["start_utc"], first["end_utc"] = first["end_utc"], first["start_utc"]


def unknown_match(_: Database, plans: Plans) -> None:
    plans[0]["match_id"] = str(uuid4())


def no_match(_: Database, plans: Plans) -> None:
    plans[0]["match_id"] = None


def another_package(_: Database, plans: Plans) -> None:
    plans[0]["package_id"] = str(PHYSICS.package_id)


def busy(db: Database, plans: Plans) -> None:
    """Zara has a lesson when Oliver's tutor is to teach him: the tutor is in two places."""
    slot = plans[0]["occurrences"][3]
    db.run(
        "insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id, sequence_number,"
        " scheduled_start_utc, scheduled_end_utc) values (%s, %s, %s, %s, 1, %s, %s)",
        IELTS.id, HARRIET.id, ZARA.id, IELTS.package_id, slot["start_utc"], slot["end_utc"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (ended, "illegal_transition"),
        (cancelled, "no_active_package"),
        (another_pattern, "plan_changed"),
        (past, "plan_changed"),
        (short, "window_too_short"),
        (empty, "window_too_short"),
        (long, "invalid"),
        (backwards, "invalid"),
        (unknown_match, "not_found"),
        (no_match, "not_found"),
        (another_package, "not_found"),
        (busy, "slot_taken"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_match_that_is_refused_stops_no_other_and_writes_nothing(
    db: Database, spoil: Callable[[Database, Plans], None], code: str, place: int
) -> None:
    bad = plans_of(read(db, match_ids=[ENGLISH.id]))
    good = plans_of(read(db, match_ids=[MATHEMATICS.id, PHYSICS.id]))
    spoil(db, bad)
    before = db.value("select count(*) from public.sessions")
    results = write(db, [*good[:place], *bad, *good[place:]])

    refused = results.pop(place)
    assert (refused["code"], refused["created"]) == (code, 0)
    assert refused["detail"]
    assert (refused["match_id"], refused["package_id"]) == (bad[0]["match_id"], bad[0]["package_id"])
    assert [(each["package_id"], each["created"], each.get("code")) for each in results] == [
        (each["package_id"], len(each["occurrences"]), None) for each in good
    ]
    assert sessions(db, ENGLISH.package_id) == 0
    assert db.value("select count(*) from public.sessions") == before + sum(each["created"] for each in results)
    assert "schedule_generated" not in {action for action, _, _ in audit(db, ENGLISH.id)}
    assert "schedule.generated" not in events(db, ENGLISH.id)
    assert db.value("select status::text from public.requests where id = %s", ENGLISH.request_id) != "active"


def test_a_refusal_in_a_month_brings_its_members(db: Database) -> None:
    plans = plans_of(read(db, match_ids=[ENGLISH.id]))
    slot = plans[0]["occurrences"][3]
    busy(db, plans)
    (taken,) = write(db, plans)
    assert [(each["start_utc"], each["of"]) for each in taken["conflicts"]] == [(slot["start_utc"], "tutor")]
    short(db, plans)
    (too_short,) = write(db, plans)
    assert (too_short["needed"], too_short["fits"]) == (8, 5)


def test_what_fits_is_taken_where_that_was_asked_for(db: Database) -> None:
    plans = plans_of(read(db, match_ids=[ENGLISH.id]))
    short(db, plans)
    assert [each["created"] for each in write(db, plans, p_allow_partial=True)] == [5]


def test_nothing_that_fits_is_a_refusal_even_then(db: Database) -> None:
    plans = plans_of(read(db, match_ids=[ENGLISH.id]))
    empty(db, plans)
    assert [each["code"] for each in write(db, plans, p_allow_partial=True)] == ["window_too_short"]


def test_of_two_plans_for_one_slot_the_first_is_written(db: Database) -> None:
    """Both were planned before either was there."""
    db.run(
        "update public.matches set schedule_pattern = (select schedule_pattern from public.matches where id = %s)"
        " where id = %s",
        ENGLISH.id,
        IELTS.id,
    )
    db.run("update public.packages set tier_sessions = 8 where id = %s", IELTS.package_id)
    first, second = write(db, plans_of(read(db, match_ids=[ENGLISH.id, IELTS.id])))
    assert (first["created"], second["created"], second["code"]) == (8, 0, "slot_taken")
    assert len(second["conflicts"]) == 8


def test_a_package_whose_sessions_were_all_used_elsewhere_lacks_none(db: Database) -> None:
    sold = sell(db, MATHEMATICS.request_id, MARCH, MARCH + timedelta(30), p_opening_used=8)
    (result,) = [each for each in write(db, plans_of(read(db))) if each["package_id"] == str(sold)]
    assert (result["created"], "code" in result) == (0, False)


@pytest.mark.parametrize("plans", ["null", "{}", '"all"', "1", f"[{'{}, ' * 100}{{}}]"], ids=lambda text: text[:4])
def test_a_chunk_is_a_list_of_bounded_length(db: Database, plans: str) -> None:
    assert refusal_of(db, NADIA, "generate_month", p_plans=plans) == (422, "invalid", "plans")


def test_a_hundred_plans_are_a_chunk(db: Database) -> None:
    plans = plans_of(read(db, match_ids=[ENGLISH.id]))
    assert [each["created"] for each in write(db, plans * 100)] == [8, *[0] * 99]


# --- at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [2, 6])
def test_months_that_run_at_once_create_each_session_once(database_url: str, chance: Random, clients: int) -> None:
    """They lock in one order whatever the order of their plans, or the loser of a deadlock would raise."""
    house = Database.open(database_url)
    with house.connection, Clients.of(database_url, clients) as all_of_them:
        for number in range(6):
            month = date(2027 + number, 3, 1)
            house.set_clock(f"{month} 00:00+00")
            for match in MATCHES:
                sell(house, match.request_id, month, month + timedelta(48), p_tier_sessions=match.tier)
            plans = plans_of(read(house, month))
            mine = [chance.sample(plans, len(plans)) for _ in range(clients)]
            answers, refused = split(all_of_them.at_once(lambda client, which, mine=mine: write(client, mine[which])))
            assert refused == []
            created = [each["created"] for results in answers for each in results]
            assert [each.get("code") for results in answers for each in results] == [None] * len(created)
            assert sorted(created, reverse=True)[: len(plans)] == sorted(
                (len(each["occurrences"]) for each in plans), reverse=True
            )
            assert sum(created) == sum(len(each["occurrences"]) for each in plans)
            for each in plans:
                assert sessions(house, each["package_id"]) == len(each["occurrences"])


def test_a_month_and_single_commits_of_its_matches_meet_without_a_deadlock(database_url: str, chance: Random) -> None:
    house = Database.open(database_url)
    with house.connection, Clients.of(database_url, 5) as clients:
        plans = plans_of(read(house))
        single = [
            {f"p_{name}": Jsonb(value) if name == "occurrences" else value for name, value in each.items()}
            for each in chance.sample(plans, 4)
        ]

        def act(client: Database, which: int) -> int:
            if which == 4:
                return sum(each["created"] for each in write(client, plans))
            return client.call(NADIA, "generate_sessions", **single[which])["created"]

        created, refused = split(clients.at_once(act))
        assert refused == []
        assert sum(created) == sum(match.tier for match in MATCHES)


# --- the next package -----------------------------------------------------------------------------------


def renew(db: Database, package_id: object, **options: object) -> dict[str, Any]:
    return db.call(
        NADIA, "renew_package", p_package_id=package_id, **{f"p_{name}": value for name, value in options.items()}
    )


@pytest.mark.parametrize(
    ("window", "following"),
    [
        (("2026-01-01", "2026-01-31"), ("2026-02-01", "2026-02-28")),
        (("2026-02-01", "2026-02-28"), ("2026-03-01", "2026-03-31")),
        (("2028-01-01", "2028-01-31"), ("2028-02-01", "2028-02-29")),
        (("2028-02-01", "2028-02-29"), ("2028-03-01", "2028-03-31")),
        (("2026-11-01", "2026-11-30"), ("2026-12-01", "2026-12-31")),
        (("2026-12-01", "2026-12-31"), ("2027-01-01", "2027-01-31")),
        (("2026-03-01", "2026-04-30"), ("2026-05-01", "2026-06-30")),
        (("2025-12-01", "2026-02-28"), ("2026-03-01", "2026-05-31")),
        (("2027-01-01", "2027-12-31"), ("2028-01-01", "2028-12-31")),
        # Any other window is as many days long as before.
        (("2026-03-01", "2026-04-04"), ("2026-04-05", "2026-05-09")),
        (("2026-01-15", "2026-02-14"), ("2026-02-15", "2026-03-17")),
        (("2028-02-01", "2028-02-28"), ("2028-02-29", "2028-03-27")),
        (("2026-02-02", "2026-02-28"), ("2026-03-01", "2026-03-27")),
        (("2026-03-10", "2026-03-10"), ("2026-03-11", "2026-03-11")),
    ],
)
def test_whole_months_stay_whole_months_and_other_windows_keep_their_length(
    db: Database, window: tuple[str, str], following: tuple[str, str]
) -> None:
    start, end = map(date.fromisoformat, window)
    proposal = renew(db, sell(db, MATHEMATICS.request_id, start, end))["proposal"]
    assert (proposal["start_date"], proposal["end_date"]) == following


def test_a_proposal_carries_everything_on_and_writes_nothing(db: Database) -> None:
    count = db.value("select count(*) from public.packages")
    pattern, link = db.rows("select schedule_pattern, meet_link from public.matches where id = %s", IELTS.id)[0]
    assert renew(db, IELTS.package_id) == {
        "proposal": {
            "request_id": str(IELTS.request_id),
            "match_id": str(IELTS.id),
            "tier_sessions": 20,
            "start_date": "2026-04-05",
            "end_date": "2026-05-09",
            "schedule_pattern": pattern,
            "meet_link": link,
        },
        "renewed_by": None,
        "package": None,
    }
    assert db.value("select count(*) from public.packages") == count


def test_a_renewal_sells_the_proposed_package(db: Database) -> None:
    sold = renew(db, IELTS.package_id, create=True)["package"]
    assert (sold["tier_sessions"], sold["start_date"], sold["end_date"]) == (20, "2026-04-05", "2026-05-09")
    assert (sold["opening_used"], sold["sessions_left"], sold["status"]) == (0, 20, "active")
    assert UUID(sold["id"]) in packages_of(read(db, "2026-05-01"))
    assert audit(db, sold["id"]) == [("package_created", "admin", NADIA.id)]


def test_a_renewal_may_be_of_another_size_and_time(db: Database) -> None:
    options = {"tier_sessions": 12, "start_date": "2026-04-10", "end_date": "2026-05-31"}
    proposal = renew(db, IELTS.package_id, **options)["proposal"]
    sold = renew(db, IELTS.package_id, create=True, **options)["package"]
    for told in (proposal, sold):
        assert {name: told[name] for name in options} == options


def test_a_later_start_keeps_the_length(db: Database) -> None:
    proposal = renew(db, ENGLISH.package_id, start_date="2026-05-01")["proposal"]
    assert (proposal["start_date"], proposal["end_date"]) == ("2026-05-01", "2026-06-04")


def test_a_package_is_renewed_once(db: Database) -> None:
    successor = renew(db, ENGLISH.package_id, create=True)["package"]["id"]
    assert renew(db, ENGLISH.package_id)["renewed_by"] == successor
    with pytest.raises(Refused) as refused:
        renew(db, ENGLISH.package_id, create=True)
    assert (refused.value.status, refused.value.code) == (409, "already_exists")
    assert refused.value.extra == {"package_id": successor}
    db.call(NADIA, "update_package", p_package_id=successor, p_status="cancelled")
    assert renew(db, ENGLISH.package_id)["renewed_by"] is None
    assert renew(db, ENGLISH.package_id, create=True)["package"]["id"] != successor


def test_renewals_at_once_sell_one_package(database_url: str) -> None:
    with Clients.of(database_url, 6) as clients:
        sold, refused = split(clients.at_once(lambda client, _: renew(client, ENGLISH.package_id, create=True)))
    assert len(sold) == 1
    assert {each.code for each in refused} == {"already_exists"}


def test_a_request_whose_match_has_ended_can_still_be_renewed(db: Database) -> None:
    ended(db, [])
    proposal = renew(db, ENGLISH.package_id)["proposal"]
    assert (proposal["match_id"], proposal["schedule_pattern"], proposal["meet_link"]) == (None, None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"tier_sessions": 9},
        {"end_date": "2026-04-04"},
        {"start_date": "2026-05-10", "end_date": "2026-05-09"},
        {"end_date": "2029-01-01"},
    ],
)
def test_a_package_that_could_not_be_sold_is_not_sold_by_renewal(db: Database, options: dict[str, object]) -> None:
    count = db.value("select count(*) from public.packages")
    with pytest.raises(Refused) as refused:
        renew(db, ENGLISH.package_id, create=True, **options)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert db.value("select count(*) from public.packages") == count


def test_there_must_be_a_package_to_renew(db: Database) -> None:
    assert refusal_of(db, NADIA, "renew_package", p_package_id=uuid4())[:2] == (404, "not_found")
    assert refusal_of(db, LENA, "renew_package", p_package_id=uuid4())[:2] == (403, "not_allowed")
