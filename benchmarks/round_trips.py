"""What our functions add to a bare RPC, and how a page of sessions grows with the table.

    make benchmark

Both sides of every ratio are measured in the same run, in turn, on the embedded stack with a real PostgREST.
The floor is the same RPC sent straight to PostgREST with the same token.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from scripts.stack import Stack

ROUNDS = 400
WARM_UP = 20
MANY_SESSIONS = 100_000
NOW = "2026-02-26T09:00:00+00:00"
MATCH_ID = "20000000-0000-4000-8000-000000000001"

Call = Callable[[], httpx.Response]


def main() -> None:
    """Measure on a stack of its own, print, and leave nothing behind."""
    with Stack.unused("benchmark", clock=NOW) as stack:
        stack.start_database(fresh=True)
        env = stack.start_postgrest()
        table = Table("call", "floor: bare RPC, p50 ms", "through the functions, p50 ms", "ratio")
        with httpx.Client(timeout=30) as client, psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
            admin = _headers(client, env, env["ADMIN_EMAIL"])
            tutor = _headers(client, env, env["TUTOR_EMAIL"])
            session_id = _generate(client, env, admin)
            database.execute("select private.set_clock('2026-03-05T00:00:00+00:00')")
            for name, floor, ours in _pairs(client, env, tutor, session_id):
                table.add_row(name, *_compare(floor, ours))
            _fill(database)
            _, floor, ours = _pairs(client, env, tutor, session_id)[1]
            table.add_row(f"a page of 50 among {MANY_SESSIONS:,} sessions", *_compare(floor, ours))
        stack.reset()
    Console().print(table)


def _pairs(
    client: httpx.Client, env: dict[str, str], headers: dict[str, str], session_id: str
) -> list[tuple[str, Call, Call]]:
    rest, functions = env["SUPABASE_URL"] + "/rest/v1/rpc/", env["FUNCTIONS_URL"] + "/api/"
    statuses, others = (cycle(["one note", "another note"]) for _ in range(2))

    def note(words: Iterator[str]) -> dict[str, str]:
        return {"status": "done", "notes": next(words)}

    return [
        (
            "set a status, with notes",
            lambda: client.post(
                rest + "tutor_update_session",
                headers=headers,
                json={"p_session_id": session_id} | {f"p_{key}": value for key, value in note(statuses).items()},
            ),
            lambda: client.post(functions + f"sessions/{session_id}/status", headers=headers, json=note(others)),
        ),
        (
            "list one's sessions",
            lambda: client.post(rest + "list_sessions", headers=headers, json={}),
            lambda: client.get(functions + "sessions", headers=headers),
        ),
    ]


def _compare(floor: Call, ours: Call) -> tuple[str, str, str]:
    """The two calls in turn, so that a machine that drifts drifts for both."""
    times: dict[Call, list[float]] = {floor: [], ours: []}
    for round_number in range(WARM_UP + ROUNDS):
        for call in (floor, ours):
            begun = time.perf_counter()
            call().raise_for_status()
            if round_number >= WARM_UP:
                times[call].append((time.perf_counter() - begun) * 1000)
    floor_p50, ours_p50 = statistics.median(times[floor]), statistics.median(times[ours])
    return f"{floor_p50:.2f}", f"{ours_p50:.2f}", f"{ours_p50 / floor_p50:.2f}"


def _headers(client: httpx.Client, env: dict[str, str], email: str) -> dict[str, str]:
    key = env["SUPABASE_PUBLISHABLE_KEY"]
    answer = client.post(
        env["SUPABASE_URL"] + "/auth/v1/token?grant_type=password",
        headers={"apikey": key},
        json={"email": email, "password": env["SEED_PASSWORD"]},
    ).raise_for_status()
    return {"apikey": key, "Authorization": f"Bearer {answer.json()['access_token']}"}


def _generate(client: httpx.Client, env: dict[str, str], admin: dict[str, str]) -> str:
    """Generate the seeded mathematics month; returns its first session."""
    answer = client.post(
        env["FUNCTIONS_URL"] + f"/api/matches/{MATCH_ID}/sessions", headers=admin, json={}
    ).raise_for_status()
    return answer.json()["sessions"][0]["id"]


def _fill(database: psycopg.Connection[Any]) -> None:
    """Many sessions of other people, as bookings that are over."""
    database.execute(
        """
        with made as (
          insert into public.bookings (listing_id, tutor_user_id, student_user_id, starts_at, ends_at,
                                       status, decided_by_role, decided_at)
          select l.id, l.tutor_user_id, 'c0000000-0000-4000-8000-000000000002',
                 timestamptz '2020-01-01 00:00+00' + n * interval '30 minutes',
                 timestamptz '2020-01-01 00:30+00' + n * interval '30 minutes',
                 'accepted', 'tutor', timestamptz '2020-01-01 00:00+00'
            from public.listings l, generate_series(1, %s) as n
           where l.id = '60000000-0000-4000-8000-000000000001'
          returning *
        )
        insert into public.sessions (booking_id, tutor_user_id, student_user_id,
                                     scheduled_start_utc, scheduled_end_utc, status)
        select id, tutor_user_id, student_user_id, starts_at, ends_at, 'done' from made
        """,
        [MANY_SESSIONS],
    )
    database.execute("analyze public.sessions")


if __name__ == "__main__":
    main()
