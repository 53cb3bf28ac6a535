"""Who is shown what and let in where, over HTTP: an id that is not one's own might as well not exist."""

import json
import time
from collections.abc import Iterator, Mapping
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.database import Database
from tests.house import BILAL, EVERYBODY, HARRIET, LENA, MARCUS, NADIA, NEWCOMER, OLIVER, ZARA, Person
from tests.laws.lived_in import STRANGER
from tests.live.answers import answer, any_problem, problem
from tests.live.routes import Ids, Route, good_body, ids_of, routes_of
from tests.live.served import Row, ServedHouse, Snapshot, functions_of

pytestmark = pytest.mark.live

OPEN_TO_OTHERS = {
    "GET /api/health": "anyone, and nobody but admins more than that it is up",
    "GET /api/me": "anyone with an account",
    "PATCH /api/me": "anyone with an account",
    "POST /api/me/calendar-token": "anyone with an account",
    "GET /api/calendar/{token}.ics": "whoever has the address, which is a secret",
    "GET /api/progress/{progress_token}": "the same, another one",
    "GET /api/students/{student_id}/progress": "the student and their tutors",
    "GET /api/students/{student_id}/progress.html": "the same",
    "GET /api/sessions": "anyone, their own",
    "GET /api/sessions/{session_id}": "its people",
    "POST /api/sessions/{session_id}/status": "its tutor",
    "POST /api/sessions/{session_id}/start": "its people",
    "PATCH /api/sessions/{session_id}/start": "its people",
    "POST /api/sessions/{session_id}/complete": "its people",
    "PATCH /api/sessions/{session_id}/complete": "its people",
    "POST /api/sessions/{session_id}/missed": "its tutor",
    "POST /api/sessions/{session_id}/dispute": "its student",
    "PATCH /api/sessions/{session_id}": "its tutor, where the house lets them",
    "POST /api/sessions/{session_id}/request-reschedule": "its people",
    "GET /api/reschedule-requests": "anyone, their own",
    "POST /api/reschedule-requests/{reschedule_request_id}/withdraw": "who asked",
    "POST /api/sessions/{session_id}/cancel": "admins; its people are told so, others not even that it exists",
    "DELETE /api/sessions/{session_id}": "the same",
    "POST /api/sessions/{session_id}/request-cancel": "its people",
    "GET /api/cancellation-requests": "anyone, their own",
    "GET /api/cancellation-requests/{cancellation_request_id}": "who asked",
    "POST /api/cancellation-requests/{cancellation_request_id}/withdraw": "who asked",
    "POST /api/sessions/{session_id}/review": "its student",
    "POST /api/sessions/refresh-status": "anyone, their own",
    "GET /api/cron/complete-sessions": "the scheduler, with a secret of its own, and nobody's token",
    "GET /api/cron/deliver-outbox": "the same",
    "GET /api/cron/send-reminders": "the same",
    "GET /api/messages": "anyone, their own",
    "GET /api/cron/clean-up": "the same",
    "GET /api/cron/auto-approve-cancellations": "the same",
    "POST /api/webhooks/aisensy/cancel-response": "AiSensy, by its signature",
    "POST /api/webhooks/whatsapp": "Meta, by its signature",
    "GET /api/webhooks/whatsapp": "Meta, by the verify token",
    "GET /api/consent/{token}": "whoever has the link, which is a secret",
    "POST /api/consent/{token}": "the same",
    "GET /api/cron/sync-calendar": "the same",
    "POST /api/requests": "students for themselves",
    "GET /api/listings": "anyone with a role",
    "GET /api/listings/{listing_id}": "anyone with a role",
    "GET /api/slots": "anyone with a role",
    "POST /api/listings": "tutors for themselves",
    "PATCH /api/listings/{listing_id}": "its tutor",
    "GET /api/availability": "tutors, their own",
    "PUT /api/availability": "tutors, their own",
    "POST /api/bookings": "students for themselves",
    "GET /api/bookings": "anyone, their own",
    "GET /api/bookings/{booking_id}": "its people",
    "POST /api/bookings/{booking_id}/accept": "its tutor",
    "POST /api/bookings/{booking_id}/decline": "its tutor",
    "POST /api/bookings/{booking_id}/cancel": "its student",
    "GET /api/packages/{package_id}/statement": "its student",
    "POST /api/students/{student_id}/assessments": "who teaches them",
    "GET /api/students/{student_id}/assessments": "the student and their tutors",
    "POST /api/students/{student_id}/homework": "who teaches them",
    "GET /api/students/{student_id}/homework": "the student and their tutors",
    "POST /api/students/{student_id}/notes": "who teaches them",
    "GET /api/students/{student_id}/notes": "the student and their tutors",
    "GET /api/students/{student_id}/learning-events": "the student and their tutors",
    "GET /api/students/{student_id}/search": "the student and their tutors",
    "POST /api/homework/{homework_id}/submit": "its people",
    "POST /api/homework/{homework_id}/review": "its tutor",
    "GET /api/sessions/{session_id}/prep": "its tutor",
    "POST /api/sessions/{session_id}/summary": "its tutor",
    "GET /api/sessions/{session_id}/summary": "its people",
    "PATCH /api/sessions/{session_id}/summary": "its tutor",
    "POST /api/sessions/{session_id}/summary/approve": "its tutor",
    "GET /api/cron/embed-events": "the scheduler",
}
"""Every other route is for admins alone."""


@pytest.fixture
def ids(busy_house: ServedHouse) -> Ids:
    """Of English: Harriet's and Oliver's, and nobody else's."""
    return ids_of(busy_house.database)


@pytest.fixture
def routes(busy_house: ServedHouse) -> list[Route]:
    return routes_of(busy_house.anybody)


@pytest.fixture
def nothing_written(busy_house: ServedHouse, owner: Database) -> Iterator[None]:
    """Every row of every table is afterwards what it was before."""
    for person in EVERYBODY:
        busy_house.sign_in(person)  # which is written down
    before = Snapshot(owner)
    yield
    assert before.differences() == []


def ask(client: httpx.Client, route: Route, ids: Ids) -> httpx.Response:
    body = json.dumps(good_body(route, ids)) if route.body else None
    headers = {"Content-Type": "application/json"} if body else {}
    return client.request(route.method, route.at(ids), content=body, headers=headers)


def told(response: httpx.Response) -> tuple[int, Row]:
    """Status and body, less the request's own id."""
    return response.status_code, any_problem(response) | {"request_id": None}


def unknown(ids: Ids) -> Ids:
    return {name: str(uuid4()) for name in ids}


# --- what is not one's own ------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("person", [BILAL, LENA, ZARA, NEWCOMER], ids=["tutor", "student", "his student", "newcomer"])
def test_somebody_elses_id_and_no_ones_are_answered_alike_by_every_route(
    busy_house: ServedHouse, routes: list[Route], ids: Ids, person: Person
) -> None:
    client = busy_house.sign_in(person)
    # A listing is there for everybody to see, a calendar and a guardian's page for whoever has its secret.
    with_ids = [
        route
        for route in routes
        if route.path_ids and route.path_ids not in (["listing_id"], ["token"], ["progress_token"])
    ]
    assert len(with_ids) > 15
    for route in with_ids:
        assert told(ask(client, route, ids)) == told(ask(client, route, unknown(ids))), route.name
        # A body may name things too.
        own_path = {**unknown(ids), **{name: ids[name] for name in route.path_ids}}
        assert told(ask(client, route, ids)) == told(ask(client, route, own_path)), route.name


@pytest.mark.usefixtures("nothing_written")
def test_a_student_asks_for_nobody_else_whether_they_exist_or_not(busy_house: ServedHouse) -> None:
    for person in (LENA, BILAL, NEWCOMER):
        client = busy_house.sign_in(person)
        answers = [
            told(client.post("/requests", json={"subject": "Art", "student_id": str(student_id)}))
            for student_id in (OLIVER.id, HARRIET.id, uuid4())
        ]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 403


@pytest.mark.usefixtures("nothing_written")
def test_filters_by_somebody_elses_id_and_by_no_ones_show_the_same(busy_house: ServedHouse, ids: Ids) -> None:
    names = {"student_id", "tutor_id", "match_id"}
    # Lena has booked a lesson of English's tutor.
    for person, foreign_to in ((BILAL, names), (LENA, names - {"tutor_id"}), (NEWCOMER, names)):
        client = busy_house.sign_in(person)
        for name in foreign_to:
            foreign = answer(client.get("/sessions", params={name: ids[name]}))
            assert foreign == answer(client.get("/sessions", params={name: str(uuid4())}))
            assert foreign["sessions"] == []


@pytest.mark.usefixtures("nothing_written")
def test_a_cursor_made_of_somebody_elses_lesson_shows_no_more_than_ones_own(busy_house: ServedHouse, ids: Ids) -> None:
    everything = answer(busy_house.sign_in(NADIA).get("/sessions", params={"limit": 1}))
    rest = answer(busy_house.sign_in(LENA).get("/sessions", params={"limit": 200, "cursor": everything["next_cursor"]}))
    assert ids["session_id"] not in json.dumps(rest)
    assert {each["student"]["id"] for each in rest["sessions"]} == {str(LENA.id)}


# --- who may do what ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("person", [HARRIET, OLIVER, BILAL, NEWCOMER], ids=lambda person: person.email.split("@")[0])
def test_what_is_for_admins_is_refused_to_everybody_else_their_own_things_included(
    busy_house: ServedHouse, routes: list[Route], ids: Ids, person: Person
) -> None:
    client = busy_house.sign_in(person)
    for_admins = [route for route in routes if route.name not in OPEN_TO_OTHERS]
    assert OPEN_TO_OTHERS.keys() < {route.name for route in routes}
    assert len(for_admins) > 15
    for route in for_admins:
        problem(ask(client, route, ids), 403, "not_allowed")


@pytest.mark.usefixtures("nothing_written")
def test_a_token_without_a_person_opens_nothing(busy_house: ServedHouse, routes: list[Route], ids: Ids) -> None:
    with functions_of(busy_house.env, token_of(busy_house, sub=str(STRANGER.id))) as stranger:
        for route in routes:
            if route.for_a_program:
                problem(ask(stranger, route, ids), 401, "not_signed_in")
            elif route.needs_token:
                problem(ask(stranger, route, ids), 403, "not_allowed")


def token_of(house: ServedHouse, **claims: object) -> str:
    """A token such as this stack issues; `claims` replace its own."""
    good = {"sub": str(NADIA.id), "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 600}
    return jwt.encode(good | claims, house.env["SUPABASE_JWT_SECRET"], algorithm="HS256")


def bad_tokens(house: ServedHouse) -> Mapping[str, str]:
    """What may stand in `Authorization`, none of which is a token of ours."""
    good, claims = token_of(house), jwt.decode(token_of(house), options={"verify_signature": False})
    key = ec.generate_private_key(ec.SECP256R1())
    return {
        "nothing": "",
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "two tokens": f"Bearer {good} {good}",
        "no token": "Bearer",
        "a word": "Bearer x",
        "cut": f"Bearer {good[:-4]}",
        "no algorithm": f"Bearer {jwt.encode(claims, '', algorithm='none')}",
        "another secret": f"Bearer {jwt.encode(claims, 'x' * 48, algorithm='HS256')}",
        "another algorithm": f"Bearer {jwt.encode(claims, house.env['SUPABASE_JWT_SECRET'], algorithm='HS384')}",
        "a key of one's own": f"Bearer {jwt.encode(claims, key, algorithm='ES256', headers={'kid': 'mine'})}",
        "expired": f"Bearer {token_of(house, exp=int(time.time()) - 60)}",
        "another audience": f"Bearer {token_of(house, aud='anon')}",
        "another issuer": f"Bearer {token_of(house, iss='https://elsewhere.test/auth/v1')}",
        "another role": f"Bearer {token_of(house, role='service_role')}",
        "no person's id": f"Bearer {token_of(house, sub='admin')}",
        "oversized": f"Bearer {token_of(house, padding='x' * 9000)}",
        "the publishable key": f"Bearer {house.env['SUPABASE_PUBLISHABLE_KEY']}",
        "the secret key": f"Bearer {house.env['SUPABASE_SECRET_KEY']}",
    }


@pytest.mark.usefixtures("nothing_written")
def test_without_a_good_token_every_route_is_a_401(busy_house: ServedHouse, routes: list[Route], ids: Ids) -> None:
    with functions_of(busy_house.env, token_of(busy_house)) as admin:
        assert answer(admin.get("/me"))["id"] == str(NADIA.id), "the good one is good"
    with_token = [route for route in routes if route.needs_token]
    by_link = {
        "GET /api/calendar/{token}.ics",
        "GET /api/progress/{progress_token}",
        "GET /api/consent/{token}",
        "POST /api/consent/{token}",
    }
    assert {route.name for route in routes} - {route.name for route in with_token} == {"GET /api/health", *by_link}
    assert answer(busy_house.anybody.get("/health")) == {"status": "ok"}
    for route in with_token:
        problem(ask(busy_house.anybody, route, ids), 401, "not_signed_in")
    for what, authorization in bad_tokens(busy_house).items():
        with functions_of(busy_house.env) as somebody:
            somebody.headers["Authorization"] = authorization
            for route in routes:
                if route.name in by_link:
                    continue
                response = ask(somebody, route, ids)
                assert any_problem(response)["code"] == "not_signed_in", f"{what}, {route.name}: {response.text}"


FORGED = {
    "X-User-Id": str(NADIA.id),
    "X-Mentor-Profile-Id": str(NADIA.id),
    "X-Forwarded-User": NADIA.email,
    "X-Role": "service_role",
    "Role": "postgres",
    "Request.Jwt.Claims": f'{{"sub": "{NADIA.id}", "role": "authenticated"}}',
    "X-Original-Url": "/api/health",
    "X-Http-Method-Override": "GET",
    "Prefer": "tx=rollback, timezone=Asia/Tokyo",
    "Accept-Profile": "private",
    "Content-Profile": "private",
    "Range": "0-0",
}


@pytest.mark.usefixtures("nothing_written")
def test_headers_make_nobody_somebody_else(busy_house: ServedHouse, routes: list[Route], ids: Ids) -> None:
    forged = FORGED | {"apikey": busy_house.env["SUPABASE_SECRET_KEY"]}
    with functions_of(busy_house.env, busy_house.visit(LENA).token) as student:
        mine = {path: answer(student.get(path)) for path in ("/me", "/sessions")}
        student.headers.update(forged)
        assert mine == {path: answer(student.get(path)) for path in mine}
        assert told(student.get(f"/sessions/{ids['session_id']}"))[0] == 404
        for route in routes:
            if route.name not in OPEN_TO_OTHERS:
                problem(ask(student, route, ids), 403, "not_allowed")
    with functions_of(busy_house.env) as nobody:
        nobody.headers.update(forged)
        for route in routes:
            if route.needs_token:
                problem(ask(nobody, route, ids), 401, "not_signed_in")


# --- two ways to the same rows --------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    "person", [NADIA, HARRIET, BILAL, OLIVER, LENA, ZARA, NEWCOMER], ids=lambda person: person.email.split("@")[0]
)
def test_the_functions_show_exactly_what_the_data_api_shows(
    busy_house: ServedHouse, owner: Database, person: Person
) -> None:
    client = busy_house.sign_in(person)
    rows = {row["id"]: row for row in busy_house.rows(person, "sessions")}
    page = answer(client.get("/sessions", params={"limit": 200}))
    listed = {each["id"]: each for each in page["sessions"]}
    assert page["next_cursor"] is None
    assert listed.keys() == rows.keys()
    assert bool(rows) == (person is not NEWCOMER)
    for id_, session in listed.items():
        row = rows[id_]
        for name in ("status", "version", "sequence_number", "tutor_notes", "match_id", "package_id"):
            assert session[name] == row[name]
        assert session["scheduled_start_utc"].rstrip("Z") == row["scheduled_start_utc"].removesuffix("+00:00")
    packages = {row["id"]: row for row in busy_house.rows(person, "packages")}
    for session in listed.values():
        assert (session["package"] is None) == (session["origin"] == "booking")
        if session["package"]:
            assert session["package"]["sessions_used"] == packages[session["package"]["id"]]["sessions_used"]
    bookings = {row["id"]: row for row in busy_house.rows(person, "bookings")}
    booked = {each["id"]: each for each in answer(client.get("/bookings", params={"limit": 200}))["bookings"]}
    assert booked.keys() == bookings.keys()
    assert all(booked[id_]["status"] == row["status"] for id_, row in bookings.items())

    def answers(path: str) -> set[UUID]:
        every = [id_ for (id_,) in owner.rows(f"select id from public.{path.split('/')[1]}")]
        return {id_ for id_ in every if client.get(path.format(id_)).status_code == 200}

    assert answers("/sessions/{}") == {UUID(id_) for id_ in rows}
    assert answers("/bookings/{}") == {UUID(id_) for id_ in bookings}
    # What a credit was taken or given back for is between the student and the house.
    statements = {UUID(id_) for id_ in packages if person not in {HARRIET, BILAL}}
    assert answers("/packages/{}/statement") == statements


@pytest.mark.usefixtures("nothing_written")
def test_a_deactivated_tutor_is_shown_nothing_by_either(busy_house: ServedHouse) -> None:
    assert busy_house.rows(NADIA, "sessions", tutor_user_id=str(MARCUS.id))
    for table in ("profiles", "accounts", "sessions", "matches", "packages", "holidays"):
        assert busy_house.rows(MARCUS, table) == [], table
    problem(busy_house.sign_in(MARCUS).get("/sessions"), 403, "not_allowed")
