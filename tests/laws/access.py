"""Who may do what: three tables written by hand, and functions that compare the house with them.

Nothing here is read off the policies or the functions: the tables say what is promised. Columns are callers:

    anon  without a token            none  a token that names nobody     lost  a token without a profile
    E     a newcomer without a role  H B   tutors   M  a deactivated one  W  one who has lost the role
    O L Z students                   N     the admin                     key   the service key

Letters in the cells are the rows of `tests/laws/lived_in.py`: people in capitals, matches (and their requests)
in small letters, bookings as numbers; `*` is every row, `-` none, `x` means refused by a missing grant
(SQLSTATE 42501).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

import psycopg
from psycopg import sql

from tests.database import Database, Refused
from tests.house import ENGLISH, EXAM_CLINIC, IELTS, LENA, MATHEMATICS, OPEN_REQUEST_ID, Person
from tests.laws.lived_in import FEEDS, LINKS, PEOPLE, QUESTIONS, STRANGER, names

Caller: TypeAlias = Person | str

CALLERS: dict[str, Caller] = {
    "anon": "anon", "none": "authenticated", "lost": STRANGER, "E": PEOPLE["E"], "H": PEOPLE["H"], "B": PEOPLE["B"],
    "M": PEOPLE["M"], "W": PEOPLE["W"], "O": PEOPLE["O"], "L": PEOPLE["L"], "Z": PEOPLE["Z"], "N": PEOPLE["N"],
    "key": "service_role",
}  # fmt: skip

# --- what each caller sees of each table -----------------------------------------------------------------

SEES = """
                       anon none lost E    H    B    M    W    O    L    Z    N    key
profiles               x    -    -    E    HOZL BL   -    WO   OHW  LBH  ZHM  *    *
accounts               x    -    -    E    H    B    -    W    O    L    Z    *    *
user_roles             x    -    -    -    H    B    -    -    O    L    Z    *    *
guardians              x    -    -    -    -    -    -    -    O    L    Z    *    *
requests               x    -    -    -    ei   m    -    c    ec   ma   ip   *    *
matches                x    -    -    -    ei   m    -    c    ec   m    ip   *    *
packages               x    -    -    -    ei   m    -    c    ec   m    ip   *    *
credit_ledger          x    -    -    -    ei   m    -    c    ec   m    ip   *    *
sessions               x    -    -    -    ei1  m    -    c    ec   m1   ip   *    *
session_moves          x    -    -    -    ei   m    -    c    ec   m    ip   *    *
disputes               x    -    -    -    ei   m    -    c    ec   m    ip   *    *
learning_events        x    -    -    -    eiH  mB   -    cW   ecO  m    ip   *    *
homework               x    -    -    -    ei   m    -    c    ecO  m    ip   *    *
briefs                 x    -    -    -    H    B    -    W    -    -    -    *    *
session_summaries      x    -    -    -    eiH  m    -    c    ec   m    ip   *    *
review_windows         x    -    -    -    ei   m    -    c    ec   m    ip   *    *
reviews                x    -    -    -    ei   m    -    c    ec   m    ip   *    *
reschedule_requests    x    -    -    -    H    B    -    W    O    L    Z    *    *
messages               x    -    -    -    H    B    -    W    O    L    Z    *    *
inbox_messages         x    -    -    -    -    -    -    -    -    -    -    *    *
cancellation_requests  x    -    -    -    H    B    -    W    O    L    Z    *    *
listings               x    -    -    -    H    B    -    W    -    -    -    *    *
availability           x    -    -    -    H    B    -    W    -    -    -    *    *
bookings               x    -    -    -    12   3    -    5    25   13   4    *    *
holidays               x    -    -    -    *    *    -    -    *    *    *    *    *
time_off               x    -    -    -    H    B    -    -    O    L    Z    *    *
settings               x    -    -    -    -    -    -    -    -    -    -    *    *
deliveries             x    -    -    -    -    -    -    -    -    -    -    *    *
delivery_attempts      x    -    -    -    -    -    -    -    -    -    -    *    *
webhook_endpoints      x    -    -    -    -    -    -    -    -    -    -    *    *
calendar_syncs         x    -    -    -    -    -    -    -    -    -    -    *    *
audit_logs             x    -    -    -    -    -    -    -    -    -    -    *    *
"""

ABOUT = {
    "profiles": "id",
    "accounts": "profile_id",
    "user_roles": "profile_id",
    "guardians": "student_user_id",
    "requests": "id",
    "matches": "request_id",
    "packages": "request_id",
    "credit_ledger": "(select request_id from public.packages p where p.id = package_id)",
    "sessions": "coalesce((select request_id from public.matches m where m.id = match_id), booking_id)",
    "session_moves": (
        "(select request_id from public.sessions s join public.matches m on m.id = match_id where s.id = session_id)"
    ),
    "disputes": (
        "(select request_id from public.sessions s join public.matches m on m.id = match_id where s.id = session_id)"
    ),
    "reschedule_requests": "requested_by_user_id",
    "messages": "reader_profile_id",
    "inbox_messages": "null",
    "cancellation_requests": "requested_by_user_id",
    "listings": "tutor_user_id",
    "availability": "tutor_user_id",
    "bookings": "id",
    "learning_events": (
        "case when is_private then coalesce(tutor_user_id, author_user_id) else coalesce("
        "(select m.request_id from public.matches m where m.tutor_user_id = learning_events.tutor_user_id"
        " and m.student_user_id = learning_events.student_user_id), student_user_id) end"
    ),
    "homework": (
        "coalesce((select m.request_id from public.matches m where m.tutor_user_id = homework.tutor_user_id"
        " and m.student_user_id = homework.student_user_id), student_user_id)"
    ),
    "briefs": "made_for_user_id",
    "session_summaries": (
        "case status when 'draft' then tutor_user_id else (select m.request_id from public.matches m"
        " where m.tutor_user_id = session_summaries.tutor_user_id"
        " and m.student_user_id = session_summaries.student_user_id) end"
    ),
    "review_windows": (
        "(select request_id from public.sessions s join public.matches m on m.id = match_id where s.id = session_id)"
    ),
    "reviews": (
        "(select request_id from public.sessions s join public.matches m on m.id = match_id where s.id = session_id)"
    ),
    "holidays": "null",
    "time_off": "user_id",
    "settings": "null",
    "deliveries": "null",
    "delivery_attempts": "null",
    "webhook_endpoints": "null",
    "calendar_syncs": "null",
    "audit_logs": "null",
}
"""Which person, request or booking a row of the table is about; null for what belongs to the house."""

# --- what nobody may do: every write is a function --------------------------------------------------------

WRITES: dict[str, LiteralString] = {
    "insert": "insert into {table} ({column}) select null where false",
    "update": "update {table} set {column} = default where false",
    "delete": "delete from {table} where false",
    "upsert": "insert into {table} ({column}) select null where false"
    " on conflict ({key}) do update set {column} = excluded.{column}",
    "truncate": "truncate {table}",
}
"""Refused to every caller on every table of `public`, whatever the rows: the grant is missing."""

# --- which function each caller may call, on something of H's and O's -------------------------------------

MAY = """
                                   anon none lost E    H    B    M    W    O    L    Z    N    key
get_me                             x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
update_me                          x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
create_person                      x    401  403  403  403  403  403  403  403  403  403  ok   x
update_person                      x    401  403  403  403  403  403  403  403  403  403  ok   x
create_guardian                    x    401  403  403  403  403  403  403  403  403  403  ok   x
update_guardian                    x    401  403  403  403  403  403  403  403  403  403  ok   x
create_request (for oneself)       x    401  403  403  403  403  403  403  ok   ok   ok   422  x
create_request (for L)             x    401  403  403  403  403  403  403  403  ok   403  ok   x
update_request                     x    401  403  403  403  403  403  403  403  403  403  ok   x
create_match                       x    401  403  403  403  403  403  403  403  403  403  ok   x
update_match                       x    401  403  403  403  403  403  403  403  403  403  ok   x
set_match_schedule                 x    401  403  403  403  403  403  403  403  403  403  ok   x
end_match                          x    401  403  403  403  403  403  403  403  403  403  ok   x
create_package                     x    401  403  403  403  403  403  403  403  403  403  ok   x
update_package                     x    401  403  403  403  403  403  403  403  403  403  ok   x
renew_package                      x    401  403  403  403  403  403  403  403  403  403  ok   x
renew_package (only looking)       x    401  403  403  403  403  403  403  403  403  403  ok   x
get_statement                      x    401  403  404  403  404  403  404  ok   404  404  ok   x
create_holiday                     x    401  403  403  403  403  403  403  403  403  403  ok   x
update_holiday                     x    401  403  403  403  403  403  403  403  403  403  ok   x
delete_holiday                     x    401  403  403  403  403  403  403  403  403  403  ok   x
create_time_off                    x    401  403  403  403  403  403  403  403  403  403  ok   x
update_time_off                    x    401  403  403  403  403  403  403  403  403  403  ok   x
delete_time_off                    x    401  403  403  403  403  403  403  403  403  403  ok   x
schedule_inputs                    x    401  403  403  403  403  403  403  403  403  403  ok   x
generate_sessions                  x    401  403  403  403  403  403  403  403  403  403  ok   x
month_inputs                       x    401  403  403  403  403  403  403  403  403  403  ok   x
generate_month                     x    401  403  403  403  403  403  403  403  403  403  ok   x
add_extra_session                  x    401  403  403  403  403  403  403  403  403  403  402  x
import_house                       x    401  403  403  403  403  403  403  403  403  403  ok   x
create_listing (for oneself)       x    401  403  403  ok   ok   403  403  ok   403  403  422  x
create_listing (for H)             x    401  403  403  ok   403  403  403  403  403  403  ok   x
update_listing                     x    401  403  404  ok   403  403  404  403  403  403  ok   x
update_listing (of one who left)   x    401  403  404  404  404  403  403  404  404  404  ok   x
get_listing                        x    401  403  404  ok   ok   403  404  ok   ok   ok   ok   x
get_listing (not active)           x    401  403  404  ok   404  403  404  404  404  404  ok   x
get_listing (of one deactivated)   x    401  403  404  404  404  403  404  404  404  404  ok   x
get_listing (of one who left)      x    401  403  404  404  404  403  ok   404  404  404  ok   x
list_listings                      x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
get_availability                   x    401  403  403  ok   403  403  403  403  403  403  ok   x
get_availability (one's own)       x    401  403  403  ok   ok   403  403  ok   403  403  422  x
set_availability                   x    401  403  403  ok   403  403  403  403  403  403  ok   x
set_availability (one's own)       x    401  403  403  ok   ok   403  403  ok   403  403  422  x
slot_inputs                        x    401  403  404  ok   ok   403  404  ok   ok   ok   ok   x
request_booking                    x    401  403  404  403  403  403  404  ok   ok   ok   403  x
accept_booking                     x    401  403  404  ok   404  403  404  403  404  404  ok   x
accept_booking (again)             x    401  403  404  ok   404  403  404  404  403  404  ok   x
decline_booking                    x    401  403  404  ok   404  403  404  403  404  404  ok   x
decline_booking (of one who left)  x    401  403  404  404  404  403  403  403  404  404  ok   x
cancel_booking                     x    401  403  404  403  404  403  404  ok   404  404  ok   x
cancel_booking (an accepted one)   x    401  403  404  403  404  403  404  404  409  404  409  x
get_booking                        x    401  403  404  ok   404  403  404  ok   404  404  ok   x
list_bookings                      x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
list_bookings (as admin)           x    401  403  403  403  403  403  403  403  403  403  ok   x
list_sessions                      x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
list_sessions (as admin)           x    401  403  403  403  403  403  403  403  403  403  ok   x
get_session                        x    401  403  404  ok   404  403  404  ok   404  404  ok   x
tutor_update_session               x    401  403  404  ok   404  403  404  403  404  404  ok   x
tutor_update_session (with a key)  x    401  403  404  ok   404  403  404  403  404  404  ok   x
start_session (after the clock)    x    401  403  404  ok   404  403  404  ok   404  404  ok   x
start_session (the fourth)         x    401  403  404  409  404  403  404  409  404  404  ok   x
complete_session (the second)      x    401  403  404  ok   404  403  404  409  404  404  ok   x
complete_session (a delayed one)   x    401  403  404  409  404  403  404  ok   404  404  ok   x
complete_session (with notes)      x    401  403  404  409  404  403  404  403  404  404  ok   x
mark_missed                        x    401  403  404  ok   404  403  404  403  404  404  ok   x
mark_missed (by the tutor)         x    401  403  404  ok   404  403  404  403  404  404  ok   x
dispute_session                    x    401  403  404  403  404  403  404  ok   404  404  403  x
dispute_session (a person's word)  x    401  403  404  403  404  403  404  409  404  404  403  x
reschedule_session                 x    401  403  404  403  404  403  404  403  404  404  ok   x
reschedule_session (a done one)    x    401  403  404  403  404  403  404  403  404  404  409  x
reschedule_session (to the past)   x    401  403  404  403  404  403  404  403  404  404  422  x
reschedule_session (never)         x    401  403  404  403  404  403  404  403  404  404  422  x
reschedule_session (stale)         x    401  403  404  403  404  403  404  403  404  404  409  x
reschedule_session (onto another)  x    401  403  404  403  404  403  404  403  404  404  409  x
request_reschedule                 x    401  403  404  ok   404  403  404  ok   404  404  403  x
request_reschedule (a done one)    x    401  403  404  409  404  403  404  409  404  404  403  x
request_reschedule (no reason)     x    401  403  404  422  404  403  404  422  404  404  403  x
request_reschedule (to the past)   x    401  403  404  422  404  403  404  422  404  404  403  x
request_reschedule (four times)    x    401  403  404  422  404  403  404  422  404  404  403  x
list_reschedule_requests           x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
list_reschedule_requests (many)    x    401  403  422  422  422  403  422  422  422  422  422  x
accept_reschedule_request          x    401  403  403  403  403  403  403  403  403  403  ok   x
accept_reschedule_request (when?)  x    401  403  403  403  403  403  403  403  403  403  422  x
accept_reschedule_request (none)   x    401  403  403  403  403  403  403  403  403  403  404  x
accept_reschedule_request (old)    x    401  403  403  403  403  403  403  403  403  403  409  x
reject_reschedule_request          x    401  403  403  403  403  403  403  403  403  403  ok   x
reject_reschedule_request (old)    x    401  403  403  403  403  403  403  403  403  403  409  x
withdraw_reschedule_request        x    401  403  404  404  404  403  404  ok   404  404  403  x
withdraw_reschedule_request (old)  x    401  403  404  409  404  403  404  404  404  404  403  x
series_inputs                      x    401  403  403  403  403  403  403  403  403  403  ok   x
series_inputs (done)               x    401  403  403  403  403  403  403  403  403  403  409  x
series_inputs (how much?)          x    401  403  403  403  403  403  403  403  403  403  422  x
series_inputs (another's)          x    401  403  403  403  403  403  403  403  403  403  404  x
reschedule_series                  x    401  403  403  403  403  403  403  403  403  403  409  x
reschedule_series (no list)        x    401  403  403  403  403  403  403  403  403  403  422  x
cancel_session                     x    401  403  404  403  404  403  404  403  404  404  ok   x
cancel_session (no reason)         x    401  403  404  403  404  403  404  403  404  404  422  x
request_cancellation               x    401  403  404  ok   404  403  404  ok   404  404  403  x
request_cancellation (asked by H)  x    401  403  404  ok   404  403  404  409  404  404  403  x
request_cancellation (begun)       x    401  403  404  409  404  403  404  409  404  404  403  x
request_cancellation (no reason)   x    401  403  404  422  404  403  404  422  404  404  403  x
list_cancellation_requests         x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
list_cancellation_requests (many)  x    401  403  422  422  422  403  422  422  422  422  422  x
get_cancellation_request           x    401  403  404  404  404  403  404  ok   404  404  ok   x
approve_cancellation               x    401  403  403  403  403  403  403  403  403  403  ok   x
approve_cancellation (none)        x    401  403  403  403  403  403  403  403  403  403  404  x
approve_cancellation (old)         x    401  403  403  403  403  403  403  403  403  403  409  x
reject_cancellation                x    401  403  403  403  403  403  403  403  403  403  ok   x
reject_cancellation (old)          x    401  403  403  403  403  403  403  403  403  403  409  x
withdraw_cancellation              x    401  403  404  404  404  403  404  ok   404  404  403  x
withdraw_cancellation (old)        x    401  403  404  409  404  403  404  404  404  404  403  x
read_consent                       x    x    x    x    x    x    x    x    x    x    x    x    ok
read_consent (unknown)             x    x    x    x    x    x    x    x    x    x    x    x    404
read_consent (old)                 x    x    x    x    x    x    x    x    x    x    x    x    404
read_consent (of nobody)           x    x    x    x    x    x    x    x    x    x    x    x    404
answer_consent                     x    x    x    x    x    x    x    x    x    x    x    x    ok
answer_consent (unknown)           x    x    x    x    x    x    x    x    x    x    x    x    404
answer_consent (old)               x    x    x    x    x    x    x    x    x    x    x    x    404
answer_consent (with nonsense)     x    x    x    x    x    x    x    x    x    x    x    x    422
answer_consent_messages            x    x    x    x    x    x    x    x    x    x    x    x    ok
answer_consent_messages (no list)  x    x    x    x    x    x    x    x    x    x    x    x    422
auto_approve_cancellations         x    x    x    x    x    x    x    x    x    x    x    x    ok
auto_approve_cancellations (none)  x    x    x    x    x    x    x    x    x    x    x    x    422
review_session                     x    401  403  404  403  404  403  404  ok   404  404  403  x
review_session (once more)         x    401  403  404  403  404  403  404  409  404  404  403  x
review_session (not done)          x    401  403  404  403  404  403  404  409  404  404  403  x
record_assessment                  x    401  403  404  ok   404  403  403  403  404  404  ok   x
record_assessment (of nothing)     x    401  403  404  422  404  403  403  403  404  404  422  x
record_assessment (of nobody)      x    401  403  404  404  404  403  404  404  404  404  404  x
record_assessment (of a tutor)     x    401  403  404  404  404  403  404  404  404  404  404  x
record_assessment (chess)          x    401  403  404  422  404  403  403  403  404  404  ok   x
add_note                           x    401  403  404  ok   404  403  403  403  404  404  ok   x
add_note (in private)              x    401  403  404  ok   404  403  403  403  404  404  ok   x
add_note (booked once)             x    401  403  404  ok   ok   403  404  404  403  404  ok   x
add_note (empty)                   x    401  403  404  422  404  403  403  403  404  404  422  x
assign_homework                    x    401  403  404  ok   404  403  403  403  404  404  ok   x
assign_homework (nothing)          x    401  403  404  422  404  403  403  403  404  404  422  x
submit_homework                    x    401  403  404  ok   404  403  404  ok   404  404  ok   x
submit_homework (again)            x    401  403  404  ok   404  403  404  ok   404  404  ok   x
submit_homework (once more)        x    401  403  404  409  404  403  404  409  404  404  409  x
submit_homework (of one who left)  x    401  403  404  404  404  403  403  ok   404  404  ok   x
submit_homework (an admin's)       x    401  403  404  404  404  403  404  ok   404  404  ok   x
review_homework                    x    401  403  404  ok   404  403  404  403  404  404  ok   x
review_homework (not handed in)    x    401  403  404  409  404  403  404  403  404  404  409  x
review_homework (again)            x    401  403  404  ok   404  403  404  403  404  404  ok   x
review_homework (otherwise)        x    401  403  404  409  404  403  404  403  404  404  409  x
list_learning_events               x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
list_learning_events (many)        x    401  403  404  422  404  403  422  422  404  404  422  x
list_learning_events (of nobody)   x    401  403  404  404  404  403  404  404  404  404  404  x
list_assessments                   x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
list_notes                         x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
list_homework                      x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
list_homework (none)               x    401  403  404  422  404  403  422  422  404  404  422  x
search_learning_events             x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
search_learning_events (nothing)   x    401  403  404  422  404  403  422  422  404  404  422  x
search_learning_events (many)      x    401  403  404  422  404  403  422  422  404  404  422  x
search_learning_events (no space)  x    401  403  404  422  404  403  422  422  404  404  422  x
take_model_call                    x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
take_model_call (what for?)        x    401  403  422  422  422  403  422  422  422  422  422  x
claim_embeddings                   x    x    x    x    x    x    x    x    x    x    x    x    ok
claim_embeddings (many)            x    x    x    x    x    x    x    x    x    x    x    x    422
settle_embeddings                  x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_embeddings (too short)      x    x    x    x    x    x    x    x    x    x    x    x    422
brief_inputs                       x    401  403  404  ok   404  403  404  403  404  404  ok   x
brief_inputs (done)                x    401  403  404  409  404  403  404  403  404  404  409  x
brief_inputs (of one who left)     x    401  403  404  404  404  403  403  403  404  404  ok   x
store_brief                        x    401  403  404  ok   404  403  404  403  404  404  ok   x
store_brief (done)                 x    401  403  404  409  404  403  404  403  404  404  409  x
store_brief (of another student)   x    401  403  404  422  404  403  404  403  404  404  422  x
store_brief (of N's remark)        x    401  403  404  422  404  403  404  403  404  404  ok   x
store_brief (of H's remark)        x    401  403  404  ok   404  403  404  403  404  404  422  x
store_brief (of W's note on O)     x    401  403  404  422  404  403  404  403  404  404  ok   x
store_brief (no brief)             x    401  403  404  422  404  403  404  403  404  404  422  x
summary_inputs                     x    401  403  404  ok   404  403  404  403  404  404  ok   x
summary_inputs (not done)          x    401  403  404  409  404  403  404  403  404  404  409  x
store_summary_draft                x    401  403  404  ok   404  403  404  403  404  404  ok   x
store_summary_draft (approved)     x    401  403  404  409  404  403  404  403  404  404  409  x
store_summary_draft (not done)     x    401  403  404  409  404  403  404  403  404  404  409  x
update_summary                     x    401  403  404  ok   404  403  404  403  404  404  ok   x
update_summary (approved)          x    401  403  404  409  404  403  404  403  404  404  409  x
update_summary (stale)             x    401  403  404  409  404  403  404  403  404  404  409  x
approve_summary                    x    401  403  404  ok   404  403  404  403  404  404  ok   x
approve_summary (again)            x    401  403  404  ok   404  403  404  403  404  404  ok   x
approve_summary (stale)            x    401  403  404  409  404  403  404  403  404  404  409  x
get_summary                        x    401  403  404  ok   404  403  404  ok   404  404  ok   x
get_summary (a draft)              x    401  403  404  ok   404  403  404  404  404  404  ok   x
refresh_session_statuses           x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
sweep_session_statuses             x    x    x    x    x    x    x    x    x    x    x    x    ok
move_session_to_package            x    401  403  403  403  403  403  403  403  403  403  422  x
rotate_calendar_token              x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
read_calendar_feed                 x    x    x    x    x    x    x    x    x    x    x    x    ok
read_calendar_feed (unknown)       x    x    x    x    x    x    x    x    x    x    x    x    404
read_calendar_feed (deactivated)   x    x    x    x    x    x    x    x    x    x    x    x    404
get_progress                       x    401  403  404  ok   404  403  ok   ok   404  404  ok   x
create_progress_link               x    401  403  403  403  403  403  403  403  403  403  ok   x
list_progress_links                x    401  403  403  403  403  403  403  403  403  403  ok   x
revoke_progress_link               x    401  403  403  403  403  403  403  403  403  403  ok   x
read_progress_link                 x    x    x    x    x    x    x    x    x    x    x    x    ok
read_progress_link (unknown)       x    x    x    x    x    x    x    x    x    x    x    x    404
read_progress_link (revoked)       x    x    x    x    x    x    x    x    x    x    x    x    404
read_progress_link (expired)       x    x    x    x    x    x    x    x    x    x    x    x    404
once (completing a session)        x    401  403  404  ok   404  403  404  403  404  404  ok   x
once (entering a holiday)          x    401  403  403  403  403  403  403  403  403  403  ok   x
once (letting the clock move all)  x    401  403  422  422  422  403  422  422  422  422  422  x
once (refreshing one's own)        x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
get_settings                       x    401  403  403  403  403  403  403  403  403  403  ok   x
update_settings                    x    401  403  403  403  403  403  403  403  403  403  ok   x
get_metrics                        x    401  403  403  403  403  403  403  403  403  403  ok   x
get_daily_outcomes                 x    401  403  403  403  403  403  403  403  403  403  ok   x
list_webhook_endpoints             x    401  403  403  403  403  403  403  403  403  403  ok   x
create_webhook_endpoint            x    401  403  403  403  403  403  403  403  403  403  ok   x
update_webhook_endpoint            x    401  403  403  403  403  403  403  403  403  403  ok   x
rotate_webhook_secret              x    401  403  403  403  403  403  403  403  403  403  ok   x
delete_webhook_endpoint            x    401  403  403  403  403  403  403  403  403  403  ok   x
list_deliveries                    x    401  403  403  403  403  403  403  403  403  403  ok   x
get_delivery                       x    401  403  403  403  403  403  403  403  403  403  ok   x
replay_delivery                    x    401  403  403  403  403  403  403  403  403  403  ok   x
replay_delivery (a pending one)    x    401  403  403  403  403  403  403  403  403  403  409  x
list_events                        x    401  403  403  403  403  403  403  403  403  403  ok   x
claim_deliveries                   x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_deliveries                  x    x    x    x    x    x    x    x    x    x    x    x    ok
clean_up                           x    x    x    x    x    x    x    x    x    x    x    x    ok
list_messages                      x    401  403  ok   ok   ok   403  ok   ok   ok   ok   ok   x
list_messages (many)               x    401  403  422  422  422  403  422  422  422  422  422  x
list_inbox                         x    401  403  403  403  403  403  403  403  403  403  ok   x
list_inbox (many)                  x    401  403  403  403  403  403  403  403  403  403  422  x
retry_message                      x    401  403  403  403  403  403  403  403  403  403  ok   x
retry_message (none)               x    401  403  403  403  403  403  403  403  403  403  404  x
retry_message (a sent one)         x    401  403  403  403  403  403  403  403  403  403  409  x
retry_message (an old one)         x    401  403  403  403  403  403  403  403  403  403  409  x
plan_reminders                     x    x    x    x    x    x    x    x    x    x    x    x    ok
claim_messages                     x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_messages                    x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_messages (no list)          x    x    x    x    x    x    x    x    x    x    x    x    422
note_message_statuses              x    x    x    x    x    x    x    x    x    x    x    x    ok
note_message_statuses (no list)    x    x    x    x    x    x    x    x    x    x    x    x    422
claim_calendar_syncs               x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_calendar_syncs              x    x    x    x    x    x    x    x    x    x    x    x    ok
claim_busy_reads                   x    x    x    x    x    x    x    x    x    x    x    x    ok
settle_busy_reads                  x    x    x    x    x    x    x    x    x    x    x    x    ok
list_calendar_syncs                x    401  403  403  403  403  403  403  403  403  403  ok   x
retry_calendar_sync                x    401  403  403  403  403  403  403  403  403  403  ok   x
retry_calendar_sync (not there)    x    401  403  403  403  403  403  403  403  403  403  404  x
health                             x    401  403  403  403  403  403  403  403  403  403  ok   x
"""

FOR_THE_SERVICE = {
    "sweep_session_statuses", "claim_deliveries", "settle_deliveries", "clean_up", "read_calendar_feed",
    "read_progress_link",
    "claim_embeddings", "settle_embeddings",
    "read_consent", "answer_consent", "answer_consent_messages", "auto_approve_cancellations",
    "plan_reminders", "claim_messages", "settle_messages", "note_message_statuses",
    "claim_calendar_syncs", "settle_calendar_syncs", "claim_busy_reads", "settle_busy_reads",
}  # fmt: skip
"""Functions for the service key alone: their missing grant is what keeps people out."""


@dataclass(frozen=True)
class Things:
    """What the calls are about: H's and O's English.

    Its first session is done, the next two are past their end and open; the last but one was completed by the
    clock, the last begun by it. Another time is wished for the fifth by H and for the sixth by O, and they ask to
    cancel them; for the seventh both wishes of H are withdrawn, for the eighth rejected.
    """

    sessions: tuple[UUID, ...]
    chess: UUID
    art: UUID
    guardian: UUID
    holiday: UUID
    time_off: UUID
    wishes: Mapping[str, UUID]
    """For another time, by who asks; `late` is decided."""
    cancellations: Mapping[str, UUID]
    listings: Mapping[str, UUID]
    """By their tutors; H's that is not active is a small h."""
    bookings: Mapping[str, UUID]
    offered: str
    """The fingerprint of H's free times."""
    progress_link: UUID
    endpoint: UUID
    delivered: UUID
    pending: UUID
    homework: Mapping[str, UUID]
    """Of O: H's that is given, handed in and looked through; W's and N's that are given."""
    remarks: Mapping[str, UUID]
    """Private ones on O, by their authors; and notes: W's on O, H's on Z."""
    messages: Mapping[str, UUID]
    """Sent, failed, and failed so long ago that it is not worth saying."""

    @classmethod
    def of(cls, house: Database) -> "Things":
        def sessions(request_id: UUID) -> Iterator[UUID]:
            query = (
                "select s.id from public.sessions s join public.packages p on p.id = package_id"
                " where p.request_id = %s order by sequence_number"
            )
            return (session_id for (session_id,) in house.rows(query, request_id))

        def wishes(table: str) -> dict[str, UUID]:
            query = (
                f"select w.id from public.{table} w join public.sessions s on s.id = session_id where s.match_id = %s"
            )
            rows = house.rows(f"{query} order by s.sequence_number", ENGLISH.id)
            return dict(zip(("H", "O", "late", "rejected"), (wish_id for (wish_id,) in rows), strict=True))

        called = names(house)
        listed = house.rows("select id, tutor_user_id, is_active from public.listings")
        return cls(
            listings={called[of] if is_active else called[of].lower(): key for key, of, is_active in listed},
            bookings={name: key for key, name in called.items() if name.isdigit()},
            offered=house.call(LENA, "slot_inputs", p_listing_id=EXAM_CLINIC.id, **APRIL)["fingerprint"],
            sessions=tuple(sessions(ENGLISH.request_id)),
            wishes=wishes("reschedule_requests"),
            cancellations=wishes("cancellation_requests"),
            chess=list(sessions(OPEN_REQUEST_ID))[1],
            art=house.value("select id from public.requests where subject = 'Art'"),
            guardian=house.value("select id from public.guardians where student_user_id = %s", ENGLISH.student.id),
            holiday=house.value("select id from public.holidays"),
            time_off=house.value("select id from public.time_off where user_id = %s", ENGLISH.tutor.id),
            progress_link=house.value(
                "select l.id from private.progress_links l join public.guardians g on g.id = l.guardian_id"
                " where g.student_user_id = %s and l.revoked_at is null and l.expires_at > now()",
                ENGLISH.student.id,
            ),
            endpoint=house.value("select id from public.webhook_endpoints"),
            delivered=house.value("select id from public.deliveries where status = 'delivered' limit 1"),
            pending=house.value("select id from public.deliveries where status = 'pending' limit 1"),
            homework={
                called[author] if author != ENGLISH.tutor.id else status: key
                for key, author, status in house.rows(
                    "select id, author_user_id, status::text from public.homework where student_user_id = %s"
                    " order by status desc",
                    ENGLISH.student.id,
                )
            },
            remarks={
                called[author] if is_private else f"note of {called[author]}": key
                for key, author, is_private in house.rows(
                    "select id, author_user_id, is_private from public.learning_events where event_type = 'note'"
                    " and (student_user_id = %s and (is_private or tutor_user_id <> %s)"
                    " or student_user_id = %s and tutor_user_id = %s and not is_private)",
                    ENGLISH.student.id,
                    ENGLISH.tutor.id,
                    IELTS.student.id,
                    IELTS.tutor.id,
                )
            },
            messages={
                "sent": house.value("select message_id from public.inbox_messages"),
                "failed": house.value(
                    "select id from public.messages where status = 'failed' and expires_at > private.now()"
                ),
                "old": house.value(
                    "select id from public.messages where status = 'failed' and expires_at <= private.now()"
                ),
            },
        )


Arguments: TypeAlias = dict[str, Any]

PATTERN = {"timezone": "Europe/London", "days": [2, 4], "time": "17:00", "duration_mins": 60}
HOLIDAY = {"p_on_date": "2026-12-25", "p_name": "Christmas"}
APRIL = {"p_from": "2026-04-01T00:00Z", "p_to": "2026-05-01T00:00Z"}
WEEK = {"p_timezone": "UTC", "p_hours": [{"weekday": 7, "starts_at": "09:00", "ends_at": "10:00"}]}
DAYS_OFF = {"p_starts_on": "2026-07-01", "p_ends_on": "2026-07-02"}

SERIES: Arguments = {"p_match_id": ENGLISH.id, "p_scope": "all"}
TIMES = [f"2026-06-0{day}T10:00:00+00:00" for day in range(1, 5)]
"""Nobody has anything to do then."""


def moving(session_id: UUID, start: str | None = TIMES[0]) -> Arguments:
    """A session, to then."""
    return {"p_session_id": session_id, "p_start_utc": start}


def answering(answer: str, token: str = QUESTIONS["O"]) -> Arguments:
    """What a guardian answers through the link."""
    return {"p_token": token, "p_answer": answer}


def tapping(answer: str, token: str = QUESTIONS["O"]) -> Arguments:
    """What a provider tells of a guardian's message."""
    return {"p_answers": [{"provider": "meta", "provider_event_id": "1", "token": token, "answer": answer}]}


def wishing(session_id: UUID, *times: str) -> Arguments:
    """Another time for a session, one of these, or any."""
    return {"p_session_id": session_id, "p_reason": "ill", "p_proposed_starts_utc": list(times)}


ABOUT_O: Arguments = {"p_student_id": ENGLISH.student.id}
RESULT: Arguments = {"p_subject": "Verbs", "p_score": 7, "p_max_score": 10}
EMBEDDING: Arguments = {"p_model": "m", "p_dimension": 2}
DRAFT: Arguments = {"p_source": "rules", "p_text": "Verbs."}


def briefed(session_id: UUID, *event_ids: UUID) -> Arguments:
    """A brief for a session, which rests on these."""
    said = [{"text": "Read aloud.", "event_ids": [str(event_id) for event_id in event_ids]}] if event_ids else []
    brief = {"challenges": said, "motivators": [], "recommended_activities": [], "session_focus": []}
    return {
        "p_session_id": session_id, "p_fingerprint": "f", "p_source": "rules", "p_model": None, "p_brief": brief,
    }  # fmt: skip


DEEDS: dict[str, Callable[[Things], Arguments]] = {
    "get_me": lambda _: {},
    "update_me": lambda _: {"p_display_name": "Somebody"},
    "create_person": lambda _: {
        "p_email": "new@lessonkeeper.test",
        "p_display_name": "New",
        "p_timezone": "UTC",
        "p_roles": ["admin"],
    },
    "update_person": lambda _: {"p_person_id": ENGLISH.student.id, "p_roles": ["admin", "student"]},
    "create_guardian": lambda _: {
        "p_student_id": ENGLISH.student.id,
        "p_name": "Aunt",
        "p_timezone": "UTC",
        "p_phone": "+4477009001",
    },
    "update_guardian": lambda things: {"p_guardian_id": things.guardian, "p_phone": "+447700900199"},
    "create_request (for oneself)": lambda _: {"p_subject": "Latin"},
    "create_request (for L)": lambda _: {"p_subject": "Latin", "p_student_id": LENA.id},
    "update_request": lambda _: {"p_request_id": ENGLISH.request_id, "p_subject": "Essays"},
    "create_match": lambda things: {"p_request_id": things.art, "p_tutor_id": ENGLISH.tutor.id},
    "update_match": lambda _: {"p_match_id": ENGLISH.id, "p_meet_link": ""},
    "set_match_schedule": lambda _: {"p_match_id": ENGLISH.id, "p_schedule_pattern": PATTERN},
    "end_match": lambda _: {"p_match_id": ENGLISH.id, "p_reason": "moving away"},
    "create_package": lambda _: {
        "p_request_id": ENGLISH.request_id,
        "p_tier_sessions": 8,
        "p_start_date": "2026-05-01",
        "p_end_date": "2026-05-31",
    },
    "update_package": lambda _: {"p_package_id": ENGLISH.package_id, "p_tier_sessions": 12},
    "renew_package": lambda _: {"p_package_id": ENGLISH.package_id, "p_create": True},
    "renew_package (only looking)": lambda _: {"p_package_id": ENGLISH.package_id},
    "get_statement": lambda _: {"p_package_id": ENGLISH.package_id},
    "create_holiday": lambda _: HOLIDAY,
    "update_holiday": lambda things: {"p_holiday_id": things.holiday, "p_name": "Founder's Day"},
    "delete_holiday": lambda things: {"p_holiday_id": things.holiday},
    "create_time_off": lambda _: {"p_user_id": ENGLISH.tutor.id, **DAYS_OFF},
    "update_time_off": lambda things: {"p_time_off_id": things.time_off, "p_note": "sea"},
    "delete_time_off": lambda things: {"p_time_off_id": things.time_off},
    "schedule_inputs": lambda _: {"p_match_id": ENGLISH.id},
    "generate_sessions": lambda _: {"p_match_id": ENGLISH.id},
    "month_inputs": lambda _: {"p_month": "2026-03-01"},
    "generate_month": lambda _: {
        "p_plans": [{"match_id": str(ENGLISH.id), "package_id": str(ENGLISH.package_id), "occurrences": []}]
    },
    "add_extra_session": lambda _: {
        "p_match_id": ENGLISH.id,
        "p_start_utc": "2026-06-10T10:00Z",
        "p_reason": "make-up",
    },
    "import_house": lambda _: {"p_dry_run": False},
    "create_listing (for oneself)": lambda _: {"p_title": "Latin"},
    "create_listing (for H)": lambda _: {"p_title": "Latin", "p_tutor_id": ENGLISH.tutor.id},
    "update_listing": lambda things: {"p_listing_id": things.listings["H"], "p_title": "Latin"},
    "update_listing (of one who left)": lambda things: {"p_listing_id": things.listings["W"], "p_title": "Latin"},
    "get_listing": lambda things: {"p_listing_id": things.listings["H"]},
    "get_listing (not active)": lambda things: {"p_listing_id": things.listings["h"]},
    "get_listing (of one deactivated)": lambda things: {"p_listing_id": things.listings["M"]},
    "get_listing (of one who left)": lambda things: {"p_listing_id": things.listings["W"]},
    "list_listings": lambda _: {},
    "get_availability": lambda _: {"p_tutor_id": ENGLISH.tutor.id},
    "get_availability (one's own)": lambda _: {},
    "set_availability": lambda _: {"p_tutor_id": ENGLISH.tutor.id, **WEEK},
    "set_availability (one's own)": lambda _: WEEK,
    "slot_inputs": lambda things: {"p_listing_id": things.listings["H"], **APRIL},
    "request_booking": lambda things: {
        "p_listing_id": things.listings["H"],
        "p_start_utc": "2026-04-20T10:00Z",
        "p_fingerprint": things.offered,
    },
    "accept_booking": lambda things: {"p_booking_id": things.bookings["2"]},
    "accept_booking (again)": lambda things: {"p_booking_id": things.bookings["1"]},
    "decline_booking": lambda things: {"p_booking_id": things.bookings["2"]},
    "decline_booking (of one who left)": lambda things: {"p_booking_id": things.bookings["5"]},
    "cancel_booking": lambda things: {"p_booking_id": things.bookings["2"]},
    "cancel_booking (an accepted one)": lambda things: {"p_booking_id": things.bookings["1"]},
    "get_booking": lambda things: {"p_booking_id": things.bookings["2"]},
    "list_bookings": lambda _: {},
    "list_bookings (as admin)": lambda _: {"p_role": "admin"},
    "list_sessions": lambda _: {},
    "list_sessions (as admin)": lambda _: {"p_role": "admin"},
    "get_session": lambda things: {"p_session_id": things.sessions[0]},
    "tutor_update_session": lambda things: {"p_session_id": things.sessions[1], "p_status": "done"},
    "tutor_update_session (with a key)": lambda things: {
        "p_session_id": things.sessions[1],
        "p_status": "done",
        "p_idempotency_key": "k-1",
    },
    "start_session (after the clock)": lambda things: {"p_session_id": things.sessions[-1]},
    "start_session (the fourth)": lambda things: {"p_session_id": things.sessions[3]},
    "complete_session (the second)": lambda things: {"p_session_id": things.sessions[1]},
    "complete_session (a delayed one)": lambda things: {"p_session_id": things.sessions[-1]},
    "complete_session (with notes)": lambda things: {"p_session_id": things.sessions[-1], "p_notes": "Verbs."},
    "mark_missed": lambda things: {"p_session_id": things.sessions[1], "p_by": "student"},
    "mark_missed (by the tutor)": lambda things: {"p_session_id": things.sessions[1], "p_by": "tutor"},
    "dispute_session": lambda things: {"p_session_id": things.sessions[-2], "p_reason": "Nobody came."},
    "dispute_session (a person's word)": lambda things: {
        "p_session_id": things.sessions[0],
        "p_reason": "Nobody came.",
    },
    "reschedule_session": lambda things: moving(things.sessions[3]),
    "reschedule_session (a done one)": lambda things: moving(things.sessions[0]),
    "reschedule_session (to the past)": lambda things: moving(things.sessions[3], "2026-03-01T10:00Z"),
    "reschedule_session (never)": lambda things: moving(things.sessions[3], None),
    "reschedule_session (stale)": lambda things: moving(things.sessions[3]) | {"p_expected_version": 99},
    "reschedule_session (onto another)": lambda things: moving(things.sessions[3], "2026-03-19T17:30Z"),
    "request_reschedule": lambda things: wishing(things.sessions[3]),
    "request_reschedule (a done one)": lambda things: wishing(things.sessions[0]),
    "request_reschedule (no reason)": lambda things: wishing(things.sessions[3]) | {"p_reason": " "},
    "request_reschedule (to the past)": lambda things: wishing(things.sessions[3], "2026-03-01T10:00Z"),
    "request_reschedule (four times)": lambda things: wishing(things.sessions[3], *TIMES),
    "list_reschedule_requests": lambda _: {},
    "list_reschedule_requests (many)": lambda _: {"p_limit": 201},
    "accept_reschedule_request": lambda things: {"p_request_id": things.wishes["O"], "p_start_utc": TIMES[0]},
    "accept_reschedule_request (when?)": lambda things: {"p_request_id": things.wishes["O"]},
    "accept_reschedule_request (none)": lambda _: {"p_request_id": UUID(int=0), "p_start_utc": TIMES[0]},
    "accept_reschedule_request (old)": lambda things: {
        "p_request_id": things.wishes["late"],
        "p_start_utc": TIMES[0],
    },
    "reject_reschedule_request": lambda things: {"p_request_id": things.wishes["O"]},
    "reject_reschedule_request (old)": lambda things: {"p_request_id": things.wishes["late"]},
    "withdraw_reschedule_request": lambda things: {"p_request_id": things.wishes["O"]},
    "withdraw_reschedule_request (old)": lambda things: {"p_request_id": things.wishes["rejected"]},
    "series_inputs": lambda _: SERIES,
    "series_inputs (done)": lambda things: SERIES | {"p_scope": "one", "p_session_id": things.sessions[0]},
    "series_inputs (how much?)": lambda _: SERIES | {"p_scope": None},
    "series_inputs (another's)": lambda things: SERIES | {"p_scope": "one", "p_session_id": things.chess},
    "reschedule_series": lambda _: SERIES,
    "reschedule_series (no list)": lambda _: SERIES | {"p_moves": "5"},
    "cancel_session": lambda things: {"p_session_id": things.sessions[3], "p_reason": "ill"},
    "cancel_session (no reason)": lambda things: {"p_session_id": things.sessions[3], "p_reason": " "},
    "request_cancellation": lambda things: {"p_session_id": things.sessions[3], "p_reason": "ill"},
    "request_cancellation (asked by H)": lambda things: {"p_session_id": things.sessions[4], "p_reason": "ill"},
    "request_cancellation (begun)": lambda things: {"p_session_id": things.sessions[1], "p_reason": "ill"},
    "request_cancellation (no reason)": lambda things: {"p_session_id": things.sessions[3], "p_reason": " "},
    "list_cancellation_requests": lambda _: {},
    "list_cancellation_requests (many)": lambda _: {"p_limit": 201},
    "get_cancellation_request": lambda things: {"p_request_id": things.cancellations["O"]},
    "approve_cancellation": lambda things: {"p_request_id": things.cancellations["O"]},
    "approve_cancellation (none)": lambda _: {"p_request_id": UUID(int=0)},
    "approve_cancellation (old)": lambda things: {"p_request_id": things.cancellations["late"]},
    "reject_cancellation": lambda things: {"p_request_id": things.cancellations["O"]},
    "reject_cancellation (old)": lambda things: {"p_request_id": things.cancellations["late"]},
    "withdraw_cancellation": lambda things: {"p_request_id": things.cancellations["O"]},
    "withdraw_cancellation (old)": lambda things: {"p_request_id": things.cancellations["rejected"]},
    "read_consent": lambda _: {"p_token": QUESTIONS["O"]},
    "read_consent (unknown)": lambda _: {"p_token": "x" * 43},
    "read_consent (old)": lambda _: {"p_token": QUESTIONS["old"]},
    "read_consent (of nobody)": lambda _: {"p_token": QUESTIONS["L"]},
    "answer_consent": lambda _: answering("keep"),
    "answer_consent (unknown)": lambda _: answering("keep", "x" * 43),
    "answer_consent (old)": lambda _: answering("keep", QUESTIONS["old"]),
    "answer_consent (with nonsense)": lambda _: answering("perhaps"),
    "answer_consent_messages": lambda _: tapping("keep"),
    "answer_consent_messages (no list)": lambda _: {"p_answers": "5"},
    "auto_approve_cancellations": lambda _: {"p_limit": 1},
    "auto_approve_cancellations (none)": lambda _: {"p_limit": 0},
    "review_session": lambda things: {"p_session_id": things.sessions[-2], "p_rating": 5},
    "review_session (once more)": lambda things: {"p_session_id": things.sessions[0], "p_rating": 1},
    "review_session (not done)": lambda things: {"p_session_id": things.sessions[1], "p_rating": 5},
    "record_assessment": lambda _: ABOUT_O | RESULT,
    "record_assessment (of nothing)": lambda _: ABOUT_O | RESULT | {"p_max_score": 0},
    "record_assessment (of nobody)": lambda _: RESULT | {"p_student_id": UUID(int=0)},
    "record_assessment (of a tutor)": lambda _: RESULT | {"p_student_id": ENGLISH.tutor.id},
    "record_assessment (chess)": lambda things: ABOUT_O | RESULT | {"p_session_id": things.chess},
    "add_note": lambda _: ABOUT_O | {"p_text": "Likes verbs."},
    "add_note (in private)": lambda _: ABOUT_O | {"p_text": "Tired.", "p_is_private": True},
    "add_note (booked once)": lambda _: {"p_student_id": LENA.id, "p_text": "Likes verbs."},
    "add_note (empty)": lambda _: ABOUT_O | {"p_text": " "},
    "assign_homework": lambda _: ABOUT_O | {"p_title": "Page 12"},
    "assign_homework (nothing)": lambda _: ABOUT_O | {"p_title": None},
    "submit_homework": lambda things: {"p_homework_id": things.homework["assigned"]},
    "submit_homework (again)": lambda things: {"p_homework_id": things.homework["submitted"]},
    "submit_homework (once more)": lambda things: {"p_homework_id": things.homework["submitted"], "p_comment": "Oh!"},
    "submit_homework (of one who left)": lambda things: {"p_homework_id": things.homework["W"]},
    "submit_homework (an admin's)": lambda things: {"p_homework_id": things.homework["N"]},
    "review_homework": lambda things: {"p_homework_id": things.homework["submitted"], "p_mark": "B"},
    "review_homework (not handed in)": lambda things: {"p_homework_id": things.homework["assigned"]},
    "review_homework (again)": lambda things: {"p_homework_id": things.homework["reviewed"], "p_mark": "A"},
    "review_homework (otherwise)": lambda things: {"p_homework_id": things.homework["reviewed"], "p_mark": "C"},
    "list_learning_events": lambda _: ABOUT_O,
    "list_learning_events (many)": lambda _: ABOUT_O | {"p_limit": 201},
    "list_learning_events (of nobody)": lambda _: {"p_student_id": UUID(int=0)},
    "list_assessments": lambda _: ABOUT_O,
    "list_notes": lambda _: ABOUT_O,
    "list_homework": lambda _: ABOUT_O,
    "list_homework (none)": lambda _: ABOUT_O | {"p_limit": 0},
    "search_learning_events": lambda _: ABOUT_O | {"p_query": "verbs", "p_model": "m", "p_embedding": "[1, 0]"},
    "search_learning_events (nothing)": lambda _: ABOUT_O | {"p_query": " "},
    "search_learning_events (many)": lambda _: ABOUT_O | {"p_query": "verbs", "p_limit": 51},
    "search_learning_events (no space)": lambda _: ABOUT_O | {"p_query": "verbs", "p_embedding": "[1, 0]"},
    "take_model_call": lambda _: {"p_kind": "brief"},
    "take_model_call (what for?)": lambda _: {"p_kind": "poem"},
    "claim_embeddings": lambda _: EMBEDDING,
    "claim_embeddings (many)": lambda _: EMBEDDING | {"p_limit": 501},
    "settle_embeddings": lambda _: EMBEDDING | {"p_vectors": "[]"},
    "settle_embeddings (too short)": lambda _: (
        EMBEDDING | {"p_vectors": [{"content_hash": "0" * 64, "embedding": [1]}]}
    ),
    "brief_inputs": lambda things: {"p_session_id": things.sessions[3]},
    "brief_inputs (done)": lambda things: {"p_session_id": things.sessions[0]},
    "brief_inputs (of one who left)": lambda things: {"p_session_id": things.chess},
    "store_brief": lambda things: briefed(things.sessions[3]),
    "store_brief (done)": lambda things: briefed(things.sessions[0]),
    "store_brief (of another student)": lambda things: briefed(things.sessions[3], things.remarks["note of H"]),
    "store_brief (of N's remark)": lambda things: briefed(things.sessions[3], things.remarks["N"]),
    "store_brief (of H's remark)": lambda things: briefed(things.sessions[3], things.remarks["H"]),
    "store_brief (of W's note on O)": lambda things: briefed(things.sessions[3], things.remarks["note of W"]),
    "store_brief (no brief)": lambda things: briefed(things.sessions[3]) | {"p_brief": {}},
    "summary_inputs": lambda things: {"p_session_id": things.sessions[0]},
    "summary_inputs (not done)": lambda things: {"p_session_id": things.sessions[1]},
    "store_summary_draft": lambda things: {"p_session_id": things.sessions[-2], **DRAFT},
    "store_summary_draft (approved)": lambda things: {"p_session_id": things.sessions[0], **DRAFT},
    "store_summary_draft (not done)": lambda things: {"p_session_id": things.sessions[1], **DRAFT},
    "update_summary": lambda things: {"p_session_id": things.sessions[-2], "p_text": "Verbs."},
    "update_summary (approved)": lambda things: {"p_session_id": things.sessions[0], "p_text": "Nouns."},
    "update_summary (stale)": lambda things: {
        "p_session_id": things.sessions[-2],
        "p_text": "Verbs.",
        "p_expected_version": 99,
    },
    "approve_summary": lambda things: {"p_session_id": things.sessions[-2]},
    "approve_summary (again)": lambda things: {"p_session_id": things.sessions[0]},
    "approve_summary (stale)": lambda things: {"p_session_id": things.sessions[-2], "p_expected_version": 99},
    "get_summary": lambda things: {"p_session_id": things.sessions[0]},
    "get_summary (a draft)": lambda things: {"p_session_id": things.sessions[-2]},
    "refresh_session_statuses": lambda _: {},
    "sweep_session_statuses": lambda _: {"p_limit": 1},
    "move_session_to_package": lambda things: {
        "p_session_id": things.sessions[1],
        "p_package_id": MATHEMATICS.package_id,
        "p_reason": "mixed up",
    },
    "rotate_calendar_token": lambda _: {},
    "read_calendar_feed": lambda _: {"p_token": FEEDS["O"]},
    "get_progress": lambda _: {"p_student_id": ENGLISH.student.id},
    "create_progress_link": lambda things: {"p_guardian_id": things.guardian},
    "list_progress_links": lambda things: {"p_guardian_id": things.guardian},
    "revoke_progress_link": lambda things: {"p_link_id": things.progress_link},
    "read_progress_link": lambda _: {"p_token": LINKS["O"]},
    "read_progress_link (unknown)": lambda _: {"p_token": "x" * 43},
    "read_progress_link (revoked)": lambda _: {"p_token": LINKS["revoked"]},
    "read_progress_link (expired)": lambda _: {"p_token": LINKS["expired"]},
    "read_calendar_feed (unknown)": lambda _: {"p_token": "x" * 43},
    "read_calendar_feed (deactivated)": lambda _: {"p_token": FEEDS["M"]},
    "once (completing a session)": lambda things: {
        "p_idempotency_key": "k-2",
        "p_request_hash": "h",
        "p_function": "tutor_update_session",
        "p_arguments": {"p_session_id": str(things.sessions[1]), "p_status": "done"},
    },
    "once (entering a holiday)": lambda _: {
        "p_idempotency_key": "k-3",
        "p_request_hash": "h",
        "p_function": "create_holiday",
        "p_arguments": HOLIDAY,
    },
    "once (letting the clock move all)": lambda _: {
        "p_idempotency_key": "k-4",
        "p_request_hash": "h",
        "p_function": "sweep_session_statuses",
        "p_arguments": {},
    },
    "once (refreshing one's own)": lambda _: {
        "p_idempotency_key": "k-5",
        "p_request_hash": "h",
        "p_function": "refresh_session_statuses",
        "p_arguments": {},
    },
    "get_settings": lambda _: {},
    "update_settings": lambda _: {"p_start_window_mins": 20},
    "get_metrics": lambda _: {"p_from": "2026-03-01T00:00Z", "p_to": "2026-04-01T00:00Z"},
    "get_daily_outcomes": lambda _: {"p_from": "2026-03-01", "p_to": "2026-03-31"},
    "list_webhook_endpoints": lambda _: {},
    "create_webhook_endpoint": lambda _: {"p_url": "https://receiver.test"},
    "update_webhook_endpoint": lambda things: {"p_endpoint_id": things.endpoint, "p_is_enabled": False},
    "rotate_webhook_secret": lambda things: {"p_endpoint_id": things.endpoint},
    "delete_webhook_endpoint": lambda things: {"p_endpoint_id": things.endpoint},
    "list_deliveries": lambda things: {"p_endpoint_id": things.endpoint},
    "get_delivery": lambda things: {"p_delivery_id": things.delivered},
    "replay_delivery": lambda things: {"p_delivery_id": things.delivered},
    "replay_delivery (a pending one)": lambda things: {"p_delivery_id": things.pending},
    "list_events": lambda _: {},
    "claim_deliveries": lambda _: {"p_limit": 1},
    "settle_deliveries": lambda _: {"p_results": "[]"},
    "clean_up": lambda _: {"p_limit": 1},
    "list_messages": lambda _: {},
    "list_messages (many)": lambda _: {"p_limit": 201},
    "list_inbox": lambda _: {},
    "list_inbox (many)": lambda _: {"p_limit": 201},
    "retry_message": lambda things: {"p_message_id": things.messages["failed"]},
    "retry_message (none)": lambda _: {"p_message_id": UUID(int=0)},
    "retry_message (a sent one)": lambda things: {"p_message_id": things.messages["sent"]},
    "retry_message (an old one)": lambda things: {"p_message_id": things.messages["old"]},
    "plan_reminders": lambda _: {"p_limit": 1},
    "claim_messages": lambda _: {"p_limit": 1},
    "settle_messages": lambda _: {"p_results": "[]"},
    "settle_messages (no list)": lambda _: {"p_results": "5"},
    "note_message_statuses": lambda _: {"p_statuses": "[]"},
    "note_message_statuses (no list)": lambda _: {"p_statuses": "5"},
    "claim_calendar_syncs": lambda _: {"p_limit": 1},
    "settle_calendar_syncs": lambda _: {"p_results": "[]"},
    "claim_busy_reads": lambda _: {"p_limit": 1},
    "settle_busy_reads": lambda _: {"p_results": "[]"},
    "list_calendar_syncs": lambda _: {},
    "retry_calendar_sync": lambda things: {"p_session_id": things.sessions[5]},
    "retry_calendar_sync (not there)": lambda _: {"p_session_id": OPEN_REQUEST_ID},
    "health": lambda _: {},
}
"""A call that makes sense, for each row of MAY; the function is its first word."""

# --- on what terms a status is set -------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """One call of `tutor_update_session` on the first, second … English session, or on W's chess."""

    caller: str
    session: int | str
    status: str | None
    answer: str
    version: int | None = None
    reason: str | None = None


TERMS = [
    Term("H", 1, "done", "unchanged"),
    Term("H", 1, "done", "unchanged", version=99),
    Term("H", 1, "no_show_student", "illegal_transition"),
    Term("H", 2, "done", "stale_version", version=99),
    Term("H", 2, "in_progress", "too_late"),
    Term("H", 2, "cancelled", "not_allowed", reason="ill"),
    Term("H", 3, "done", "out_of_order"),
    Term("H", 4, "in_progress", "too_early"),
    Term("H", 4, "done", "too_early"),
    Term("O", 1, "done", "not_allowed"),
    Term("W", "chess", "done", "not_allowed"),
    Term("N", "chess", "done", "changed"),
    Term("N", 1, "no_show_student", "reason_required"),
    Term("N", 1, "no_show_student", "changed", reason="was not there"),
    Term("N", 1, "scheduled", "too_late", reason="once more"),
    Term("H", 2, None, "invalid"),
    Term("N", 2, None, "invalid"),
    Term("N", 2, "done", "stale_version", version=99),
    Term("N", 3, "done", "changed"),
]

# --- what becomes of wishes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """One call about the sixth English session, for which O wishes another time and asks to cancel it.

    What both wishes are then, and the events that it caused.
    """

    caller: str
    function: str
    arguments: Callable[[Things], Arguments]
    wish: str
    cancellation: str
    events: frozenset[str]


def sixth(things: Things, **more: object) -> Arguments:
    """The sixth English session."""
    return {"p_session_id": things.sessions[5]} | more


BOTH_LAPSE = frozenset({"reschedule.lapsed", "cancellation.lapsed"})
TURNS = [
    Turn("N", "reschedule_session", lambda things: moving(things.sessions[5]), "lapsed", "lapsed",
         BOTH_LAPSE | {"session.rescheduled"}),
    Turn("N", "tutor_update_session", partial(sixth, p_status="in_progress"), "lapsed", "lapsed",
         BOTH_LAPSE | {"session.started"}),
    Turn("N", "tutor_update_session", partial(sixth, p_status="done"), "lapsed", "lapsed",
         BOTH_LAPSE | {"session.completed"}),
    Turn("N", "tutor_update_session", partial(sixth, p_status="rescheduled"), "pending", "lapsed",
         frozenset({"session.parked", "cancellation.lapsed"})),
    Turn("N", "tutor_update_session", partial(sixth, p_status="scheduled", p_notes="Verbs."), "pending", "pending",
         frozenset()),
    Turn("N", "cancel_session", partial(sixth, p_reason="ill"), "lapsed", "lapsed", BOTH_LAPSE | {"session.cancelled"}),
    Turn("N", "reschedule_session", lambda things: moving(things.sessions[4]), "pending", "pending", frozenset()),
    Turn("N", "accept_reschedule_request", DEEDS["accept_reschedule_request"], "accepted", "lapsed",
         frozenset({"session.rescheduled", "reschedule.accepted", "cancellation.lapsed"})),
    Turn("N", "reject_reschedule_request", DEEDS["reject_reschedule_request"], "rejected", "pending",
         frozenset({"reschedule.rejected"})),
    Turn("O", "withdraw_reschedule_request", DEEDS["withdraw_reschedule_request"], "withdrawn", "pending",
         frozenset({"reschedule.withdrawn"})),
    Turn("O", "request_reschedule", lambda things: wishing(things.sessions[5], TIMES[0]), "withdrawn", "pending",
         frozenset({"reschedule.withdrawn", "reschedule.requested"})),
    Turn("N", "approve_cancellation", DEEDS["approve_cancellation"], "lapsed", "approved",
         frozenset({"session.cancelled", "cancellation.approved", "reschedule.lapsed"})),
    Turn("N", "reject_cancellation", DEEDS["reject_cancellation"], "pending", "rejected",
         frozenset({"cancellation.rejected"})),
    Turn("O", "withdraw_cancellation", DEEDS["withdraw_cancellation"], "pending", "withdrawn",
         frozenset({"cancellation.withdrawn"})),
    Turn("key", "answer_consent", lambda _: answering("approve"), "lapsed", "approved",
         frozenset({"session.cancelled", "cancellation.approved", "reschedule.lapsed"})),
    Turn("key", "answer_consent", lambda _: answering("keep"), "pending", "rejected",
         frozenset({"cancellation.rejected"})),
    Turn("key", "answer_consent", lambda _: answering("reschedule"), "pending", "reschedule_requested",
         frozenset({"cancellation.reschedule_requested", "reschedule.requested"})),
    Turn("key", "answer_consent", lambda _: answering("call"), "pending", "call_requested",
         frozenset({"cancellation.call_requested"})),
    Turn("key", "answer_consent_messages", lambda _: tapping("keep"), "pending", "rejected",
         frozenset({"cancellation.rejected"})),
    Turn("key", "answer_consent_messages", lambda _: tapping("keep", QUESTIONS["old"]), "pending", "pending",
         frozenset()),
]  # fmt: skip

# --- comparing ---------------------------------------------------------------------------------------------


def grid(text: str) -> dict[str, dict[str, str]]:
    """Row name → caller → cell. A row's name may contain single spaces."""
    heading, *lines = text.strip("\n").splitlines()
    callers = heading.split()
    assert set(callers) == set(CALLERS)
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        *name, cells = line.split("  ", 1)
        rows[name[0]] = dict(zip(callers, cells.split(), strict=True))
    return rows


def wrong_sights(house: Database, tables: Iterable[str] | None = None) -> list[str]:
    """Where a caller sees other rows than SEES says."""
    called = names(house)
    wrong: list[str] = []
    for table, cells in grid(SEES).items():
        if tables is not None and table not in tables:
            continue
        about = house.rows(f"select {_row(house, table)}, {ABOUT[table]} from public.{table}")
        for caller, cell in cells.items():
            expected = "x" if cell == "x" else sorted(key for key, of in about if _in(cell, called.get(of)))
            if (seen := _seen(house, table, CALLERS[caller])) != expected:
                wrong.append(f"{caller} sees {seen} of {table}, not {cell}")
    return wrong


def wrong_writes(house: Database, tables: Iterable[str] | None = None) -> list[str]:
    """Where a caller may write to a table directly."""
    wrong: list[str] = []
    for table in grid(SEES) if tables is None else tables:
        column = house.value(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            " and attgenerated = '' and attidentity = '' order by attnum desc limit 1",
            f"public.{table}",
        )
        parts = {
            "table": sql.Identifier("public", table),
            "column": sql.Identifier(column),
            "key": sql.SQL(", ").join(map(sql.Identifier, _key(house, table))),
        }
        for caller, who in CALLERS.items():
            for deed, statement in WRITES.items():
                try:
                    with house.connection.transaction(force_rollback=True), house.acting(who) as connection:
                        connection.execute(sql.SQL(statement).format(**parts))
                except psycopg.Error as error:
                    # Row security and triggers would refuse too; the grant must be missing all the same.
                    if f"permission denied for table {table}" not in str(error):
                        wrong.append(f"{caller} is refused {deed} of {table} by: {error}")
                else:
                    wrong.append(f"{caller} may {deed} {table}")
    return wrong


def wrong_calls(house: Database, functions: Iterable[str] | None = None) -> list[str]:
    """Where a function answers a caller otherwise than MAY says."""
    things = Things.of(house)
    wrong: list[str] = []
    for deed, cells in grid(MAY).items():
        function = deed.split()[0]
        if functions is not None and function not in functions:
            continue
        for caller, cell in cells.items():
            answer = _answer(house, CALLERS[caller], function, DEEDS[deed](things))
            if answer[0] != cell:
                wrong.append(f"{caller} gets {' '.join(answer)} from {deed}, not {cell}")
    return wrong


def wrong_terms(house: Database) -> list[str]:
    """Where a status can be set on other terms than TERMS says."""
    things = Things.of(house)
    wrong: list[str] = []
    for term in TERMS:
        session_id = things.chess if isinstance(term.session, str) else things.sessions[term.session - 1]
        arguments = {
            "p_session_id": session_id,
            "p_status": term.status,
            "p_expected_version": term.version,
            "p_reason": term.reason,
        }
        answer = _answer(house, CALLERS[term.caller], "tutor_update_session", arguments)
        if answer[1] != term.answer:
            wrong.append(f"{term} was answered {' '.join(answer)}")
    return wrong


def wrong_turns(house: Database) -> list[str]:
    """Where a wish becomes something else than TURNS says, or the world is told something else."""
    things = Things.of(house)
    wrong: list[str] = []
    for turn in TURNS:
        with house.connection.transaction(force_rollback=True):
            last = house.value("select max(id) from private.outbox_events")
            house.call(CALLERS[turn.caller], turn.function, **turn.arguments(things))
            became = (
                house.value("select status::text from public.reschedule_requests where id = %s", things.wishes["O"]),
                house.value(
                    "select status::text from public.cancellation_requests where id = %s", things.cancellations["O"]
                ),
                frozenset(
                    event
                    for (event,) in house.rows(
                        "select event_type from private.outbox_events where id > %s and aggregate_id = %s",
                        last,
                        things.sessions[5],
                    )
                ),
            )
        if became != (turn.wish, turn.cancellation, turn.events):
            wrong.append(f"after {turn} they are {became}")
    return wrong


def wrong_answers(house: Database) -> list[str]:
    """Where the reading functions show other rows than SEES says, or tell a foreign id from an unknown one."""
    return [
        *_wrong_answers(house, "session"),
        *_wrong_answers(house, "booking"),
        *_wrong_records(house),
        *_wrong_progress(house),
        *_wrong_messages(house),
    ]


RECORD: dict[str, tuple[str, str, Arguments]] = {
    "list_learning_events": ("events", "learning_events", {"p_limit": 200}),
    "list_assessments": ("assessments", "learning_events where event_type = 'assessment'", {}),
    "list_notes": ("notes", "learning_events where event_type = 'note'", {}),
    "list_homework": ("homework", "homework", {}),
    "search_learning_events": (
        "hits",
        "learning_events where content_for_embedding ~* '(read|tired|verb|page)'",
        {"p_query": "read or tired or verb or page", "p_limit": 50},
    ),
}
"""What shows a student's record: under which name, which rows, asked how."""


def _wrong_records(house: Database) -> list[str]:
    called = names(house)
    people = {letter: key for key, letter in called.items() if letter.isupper()}
    wrong: list[str] = []
    for function, (name, rows, asked) in RECORD.items():
        table = rows.split()[0]
        query = f"select id, {ABOUT[table]}, student_user_id from public.{rows}"
        about = [(key, called.get(of), called[student]) for key, of, student in house.rows(query)]
        for caller, cell in grid(SEES)[table].items():
            if cell == "x" or caller in ("none", "lost", "M", "key"):
                continue  # refused altogether, as MAY says
            for letter in "OLZ":
                seen = {UUID(each.get("event", each)["id"]) for each in _listed(house, caller, function, name, {
                    "p_student_id": people[letter], **asked})}  # fmt: skip
                if seen != {key for key, of, student in about if student == letter and _in(cell, of)}:
                    wrong.append(f"{caller} gets {len(seen)} of {letter} from {function}, not {cell}")
    return wrong


def _listed(house: Database, caller: str, function: str, name: str, asked: Arguments) -> list[dict[str, Any]]:
    """What the function shows; nothing where it knows of no such student."""
    try:
        return house.call(CALLERS[caller], function, **asked)[name]
    except Refused as refused:
        if refused.status != 404:
            raise
        return []


PROGRESS: dict[str, Callable[[dict[str, Any]], int]] = {
    "learning_events where event_type = 'assessment'": lambda told: sum(
        len(each["marks"]) for each in told["assessments"]
    ),
    "homework": lambda told: told["homework"]["assigned"],
    "packages": lambda told: len(told["packages"]),
    "sessions where status not in ('scheduled', 'in_progress', 'rescheduled')": lambda told: sum(
        told["lessons"][outcome] for outcome in ("done", "no_show_student", "no_show_tutor", "cancelled")
    ),
}
"""How many of which rows a student's progress counts."""
EVER = {"p_from": "2023-01-01", "p_to": "2027-12-31"}


def _wrong_progress(house: Database) -> list[str]:
    called = names(house)
    people = {letter: key for key, letter in called.items() if letter.isupper()}
    wrong: list[str] = []
    for rows, count in PROGRESS.items():
        table = rows.split()[0]
        query = f"select {ABOUT[table]}, student_user_id from public.{rows}"
        about = [(called.get(of), called[student]) for of, student in house.rows(query)]
        for caller, cell in grid(SEES)[table].items():
            if cell == "x" or caller in ("none", "lost", "M", "key"):
                continue  # refused altogether, as MAY says
            for letter in "OLZ":
                told = _progress(house, caller, people[letter])
                counted = count(told) if told else 0
                if counted != len([of for of, student in about if student == letter and _in(cell, of)]):
                    wrong.append(f"{caller} is told of {counted} {rows} of {letter}, not {cell}")
    return wrong


def _progress(house: Database, caller: str, student_id: UUID) -> dict[str, Any] | None:
    """None where the caller knows of no such student."""
    try:
        return house.call(CALLERS[caller], "get_progress", p_student_id=student_id, **EVER)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


def _wrong_answers(house: Database, kind: str) -> list[str]:
    called = names(house)
    table = f"{kind}s"
    about = {key: called[of] for key, of in house.rows(f"select id, {ABOUT[table]} from public.{table}")}
    wrong: list[str] = []
    for caller, cell in grid(SEES)[table].items():
        if cell in ("x", "-") and caller != "E":
            continue  # refused altogether, as MAY says
        if caller == "key":
            continue
        who = CALLERS[caller]
        expected = {key for key, of in about.items() if _in(cell, of)}
        listed = house.call(who, f"list_{table}", p_limit=200)[table]
        if {UUID(each["id"]) for each in listed} != expected:
            wrong.append(f"{caller} is listed other {table} than {cell}")
        unknown = _refusal(house, who, kind, UUID(int=0))
        for key, of in about.items():
            refusal = _refusal(house, who, kind, key)
            if (refusal is None) != (key in expected):
                wrong.append(f"{caller} gets {kind} {key} of {of}: {refusal}")
            elif refusal not in (None, unknown):
                wrong.append(f"{caller} can tell a {kind} of {of} from none: {refusal}")
    return wrong


def _wrong_messages(house: Database) -> list[str]:
    """A message has no address of its own: the list is all that shows it."""
    called = names(house)
    about = {key: called.get(of) for key, of in house.rows("select id, reader_profile_id from public.messages")}
    wrong: list[str] = []
    for caller, cell in grid(SEES)["messages"].items():
        if cell in ("x", "-") or caller == "key":
            continue  # refused altogether, as MAY says, or nobody to be told
        listed = house.call(CALLERS[caller], "list_messages", p_limit=200)["messages"]
        if {UUID(each["id"]) for each in listed} != {key for key, of in about.items() if _in(cell, of)}:
            wrong.append(f"{caller} is listed other messages than {cell}")
    return wrong


def everything_wrong(house: Database) -> list[str]:
    """All of the above."""
    return [
        difference
        for compare in (wrong_terms, wrong_turns, wrong_answers, wrong_calls, wrong_sights, wrong_writes)
        for difference in compare(house)
    ]


def _in(cell: str, letter: str | None) -> bool:
    return cell == "*" or (cell != "-" and letter is not None and letter in cell)


def _key(house: Database, table: str) -> list[str]:
    """The columns of the table's primary key."""
    return house.value(
        """
        select array_agg(attname::text order by attnum)
          from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)
         where indrelid = %s::regclass and indisprimary
        """,
        f"public.{table}",
    )


def _row(house: Database, table: str) -> str:
    """Its value, as one text."""
    return f"row({', '.join(_key(house, table))})::text"


def _seen(house: Database, table: str, who: Caller) -> list[str] | str:
    try:
        return sorted(key for (key,) in house.rows(f"select {_row(house, table)} from public.{table}", who=who))
    except psycopg.errors.InsufficientPrivilege:
        return "x"


def _answer(house: Database, who: Caller, function: str, arguments: Arguments) -> tuple[str, str]:
    """The status (`ok`, `x` or a number) and the code, or whether anything changed; then it is taken back."""
    try:
        with house.connection.transaction(force_rollback=True):
            answer = house.call(who, function, **arguments)
    except psycopg.errors.InsufficientPrivilege:
        return "x", "42501"
    except Refused as refused:
        return str(refused.status), refused.code
    except psycopg.Error as error:
        return "error", error.sqlstate or ""
    return "ok", "changed" if answer and answer.get("changed") else "unchanged"


def _refusal(house: Database, who: Caller, kind: str, key: UUID) -> str | None:
    try:
        house.call(who, f"get_{kind}", **{f"p_{kind}_id": key})
    except Refused as refused:
        return str(refused)
    return None
