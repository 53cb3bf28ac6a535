"""The access laws would notice: every policy, grant and guard that is taken away is missed by one of them.

A mutant that survives means a rule that nothing tests: add a row to `tests/laws/access.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import LiteralString, TypeAlias, cast

import psycopg
import pytest
from psycopg import sql

from tests.database import Database, Refused
from tests.laws.access import (
    FOR_THE_SERVICE,
    MAY,
    SEES,
    everything_wrong,
    grid,
    wrong_answers,
    wrong_calls,
    wrong_sights,
    wrong_terms,
    wrong_turns,
    wrong_writes,
)

Comparison: TypeAlias = Callable[[Database], list[str]]

TABLES = sorted(grid(SEES))
FUNCTIONS = sorted({deed.split()[0] for deed in grid(MAY)})


def test_the_house_as_it_is_has_nothing_wrong(house: Database) -> None:
    assert everything_wrong(house) == []


# --- policies and grants ---------------------------------------------------------------------------------------


def test_every_policy_that_lets_everybody_in_is_missed(house: Database) -> None:
    policies = house.rows("select tablename, policyname, cmd from pg_policies where schemaname = 'public'")
    assert len(policies) >= len(TABLES)
    survivors = [
        name
        for table, name, _ in policies
        if survives(
            house,
            sql.SQL("alter policy {} on {} using (true)").format(sql.Identifier(name), sql.Identifier("public", table)),
            partial(wrong_sights, tables=[table]),
        )
    ]
    assert survivors == []


def test_every_policy_that_lets_nobody_in_is_missed(house: Database) -> None:
    survivors = [
        name
        for table, name in house.rows("select tablename, policyname from pg_policies where schemaname = 'public'")
        if survives(
            house,
            sql.SQL("alter policy {} on {} using (false)").format(
                sql.Identifier(name), sql.Identifier("public", table)
            ),
            partial(wrong_sights, tables=[table]),
        )
    ]
    assert survivors == []


def test_every_branch_of_every_policy_that_opens_or_closes_is_missed(house: Database) -> None:
    """Each part of an `or` replaced by true, and by false."""
    survivors: list[str] = []
    for table, name, condition in house.rows(
        "select tablename, policyname, qual from pg_policies where schemaname = 'public'"
    ):
        branches = split_or(condition)
        for number in range(len(branches)):
            for put in ("true", "false"):
                mutant = " or ".join([*branches[:number], put, *branches[number + 1 :]])
                statement = sql.SQL("alter policy {} on {} using ({})").format(
                    sql.Identifier(name), sql.Identifier("public", table), sql.SQL(literal(mutant))
                )
                if survives(house, statement, partial(wrong_sights, tables=[table])):
                    survivors.append(f"{name}: {branches[number]} → {put}")
    assert survivors == []


@pytest.mark.parametrize("table", TABLES)
def test_a_table_without_row_security_or_with_one_grant_too_many_is_missed(house: Database, table: str) -> None:
    roles, privileges = ("anon", "authenticated", "service_role"), ("insert", "update", "delete", "truncate")
    statements = [
        f"alter table public.{table} disable row level security",
        f"grant select on public.{table} to anon",
        f"revoke select on public.{table} from authenticated",
        f"revoke select on public.{table} from service_role",
        *(f"grant {privilege} on public.{table} to {role}" for role in roles for privilege in privileges),
    ]
    survivors = [
        statement
        for statement in statements
        if survives(
            house,
            sql.SQL(literal(statement)),
            partial(wrong_sights, tables=[table]),
            partial(wrong_writes, tables=[table]),
        )
    ]
    assert survivors == []


def test_a_function_granted_to_one_role_too_many_or_too_few_is_missed(house: Database) -> None:
    survivors: list[str] = []
    for function in FUNCTIONS:
        arguments = house.value(
            "select oidvectortypes(proargtypes) from pg_proc"
            " where pronamespace = 'public'::regnamespace and proname = %s",
            function,
        )
        signature, inner = f"public.{function}({arguments})", f"private.{function}({arguments})"
        theirs, others = "authenticated", ("anon", "service_role")
        if function in FOR_THE_SERVICE:
            theirs, others = "service_role", ("anon", "authenticated")
        if function in ASKED_BY:
            others = ()  # who calls it reads rows and hands them on, and is refused both as well
        statements = (
            *(f"grant execute on function {signature}, {inner} to {other}" for other in others),
            f"revoke execute on function {signature} from {theirs}",
            f"revoke execute on function {inner} from {theirs}",
        )
        survivors += [
            statement
            for statement in statements
            if survives(house, sql.SQL(literal(statement)), partial(wrong_calls, functions=[function]))
        ]
    assert survivors == []


# --- guards ------------------------------------------------------------------------------------------------------

GUARDS: list[tuple[str, str, str]] = [
    # Who is calling.
    ("caller_id", " and deactivated_at is null", ""),
    ("caller_id", "auth_user_id = (select auth.uid())", "profile_id = (select auth.uid())"),
    ("has_role", "profile_id = p_profile_id and ", ""),
    ("has_role", " and role = p_role", ""),
    ("require_caller", "perform private.refuse(401, 'not_signed_in', 'Sign in first.');", "null;"),
    ("require_caller", "perform private.refuse(403, 'not_allowed', 'This account may not act here.');", "null;"),
    ("require_admin", "perform private.refuse(403, 'not_allowed', 'Only an admin may do this.');", "null;"),
    # Whom one knows.
    ("counterparts", " where tutor_user_id = (select private.caller_id())", ""),
    ("counterparts", " where student_user_id = (select private.caller_id())", ""),
    ("booking_counterparts", " where tutor_user_id = (select private.caller_id())", ""),
    ("booking_counterparts", " where student_user_id = (select private.caller_id())", ""),
    # What is offered, to whom, and who offers it.
    ("is_offered_to", "p_listing.tutor_user_id = p_caller_id", "false"),
    ("is_offered_to", "private.has_role(p_caller_id, 'admin')", "false"),
    ("is_offered_to", "p_listing.is_active", "true"),
    ("is_offered_to", "exists (select from public.user_roles where profile_id = p_caller_id)", "true"),
    ("is_offered_to", "private.has_role(p_listing.tutor_user_id, 'tutor')", "true"),
    ("is_offered_to", " and deactivated_at is null", ""),
    ("listing_for", " and private.is_offered_to(l, p_caller_id)", ""),
    ("tutor_for", "v_tutor_id <> p_caller_id or ", ""),
    ("tutor_for", " or not private.has_role(p_caller_id, 'tutor')", ""),
    ("update_listing", "v_listing.tutor_user_id <> v_caller_id or ", ""),
    ("update_listing", " or not private.has_role(v_caller_id, 'tutor')", ""),
    # Asking for a lesson and deciding.
    ("request_booking", "if not private.has_role(v_caller_id, 'student') then", "if false then"),
    (
        "booking_side",
        "p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin')",
        "true",
    ),
    ("booking_side", " or private.has_role(p_caller_id, 'admin')", ""),
    ("booking_side", "when private.has_role(p_caller_id, 'admin') then 'admin'", "when true then 'admin'"),
    ("booking_side", "when private.has_role(p_caller_id, 'admin') then 'admin'", "when false then 'admin'"),
    ("booking_side", " and private.has_role(p_caller_id, 'tutor')", ""),
    ("booking_side", " and p_to in ('accepted', 'declined')", ""),
    ("booking_side", " and p_to = 'cancelled'", ""),
    ("decide_booking", "if v_booking.status = p_to then", "if false then"),
    ("decide_booking", "if v_booking.status <> 'draft' then", "if false then"),
    ("get_booking", "v_caller_id in (tutor_user_id, student_user_id) or ", ""),
    ("get_booking", " or private.has_role(v_caller_id, 'admin')", ""),
    (
        "get_booking",
        "(v_caller_id in (tutor_user_id, student_user_id) or private.has_role(v_caller_id, 'admin'))",
        "true",
    ),
    ("list_bookings", "p_role = 'admin' and not v_is_admin", "false"),
    ("list_bookings", "when v_is_admin and coalesce(p_role, 'admin') = 'admin' then", "when true then"),
    ("list_bookings", "'b.tutor_user_id = $1'", "'true'"),
    ("list_bookings", "'b.student_user_id = $1'", "'true'"),
    ("list_bookings", "'b.student_user_id = $1'", "'false'"),
    # Asking for oneself.
    ("create_request", "v_student_id <> v_caller_id or ", ""),
    ("create_request", " or not private.has_role(v_caller_id, 'student')", ""),
    # Reading sessions and statements.
    ("get_session", "v_caller_id in (tutor_user_id, student_user_id) or ", ""),
    ("get_session", " or private.has_role(v_caller_id, 'admin')", ""),
    (
        "get_session",
        "(v_caller_id in (tutor_user_id, student_user_id) or private.has_role(v_caller_id, 'admin'))",
        "true",
    ),
    ("list_sessions", "p_role = 'admin' and not v_is_admin", "false"),
    ("list_sessions", "when v_is_admin and coalesce(p_role, 'admin') = 'admin' then", "when true then"),
    ("list_sessions", "'s.tutor_user_id = $1'", "'true'"),
    ("list_sessions", "'s.student_user_id = $1'", "'true'"),
    ("list_sessions", "'s.student_user_id = $1'", "'false'"),
    ("get_statement", "v_is_admin or student_user_id = v_caller_id", "true"),
    ("get_statement", "v_is_admin or student", "student"),
    # Setting a status: visible, this role, this thing, this version, legal, in time, in order.
    ("side_of", "p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin')", "true"),
    ("side_of", " or private.has_role(p_caller_id, 'admin')", ""),
    ("side_of", "perform private.refuse_if(", "perform (\n"),
    ("capacity_in", "WHEN private.has_role(p_caller_id, 'admin'::app_role) THEN", "WHEN true THEN"),
    ("capacity_in", "WHEN private.has_role(p_caller_id, 'admin'::app_role) THEN", "WHEN false THEN"),
    ("capacity_in", " AND private.has_role(p_caller_id, 'tutor'::app_role)", ""),
    ("capacity_in", "((p_session).tutor_user_id = p_caller_id) AND ", ""),
    ("capacity_refusal", "t.actor_role = p_role and ", ""),
    ("capacity_refusal", " and t.to_status = coalesce(p_to, t.to_status)", ""),
    ("capacity_refusal", " and t.is_wish = p_is_wish", ""),
    ("capacity_refusal", "if not found then", "if false then"),
    ("capacity_refusal", "if v_policy is not null and", "if false and"),
    ("refuse_if", "if p_refusal is not null then", "if false then"),
    ("tutor_update_session", "private.require_caller()", "private.caller_id()"),
    ("tutor_update_session", "if v_role = 'student' then", "if false then"),
    ("tutor_update_session", "if p_status is null then", "if false then"),
    ("take_step", "if p_to = v_session.status then", "if false then"),
    ("take_step", "if p_expected_version <> v_session.version then", "if false then"),
    ("take_step", "perform private.refuse_if(private.step_refusal(v_session, p_to, p_role, p_reason));", "null;"),
    ("complete_session", "if v_role = 'student' and p_notes is not null then", "if false then"),
    ("dispute_session", "v_caller_id in (tutor_user_id, student_user_id) or private.is_admin()", "true"),
    ("dispute_session", " or private.is_admin()", ""),
    ("dispute_session", "perform private.refuse_if(v_refusal);", "null;"),
    (
        "dispute_refusal",
        "p_session.student_user_id <> p_caller_id or not private.has_role(p_caller_id, 'student')",
        "false",
    ),
    ("dispute_refusal", "or p_session.status_set_by <> 'clock'", ""),
    ("step_refusal", "if not found then", "if false then"),
    ("step_refusal", "if v_now < v_opens_at then", "if false then"),
    ("step_refusal", "if v_now >= v_closed_at then", "if false then"),
    ("step_refusal", "if v_step.needs_future_start and", "if false and"),
    ("step_refusal", "if v_step.needs_reason and", "if false and"),
    ("step_refusal", "coalesce(t.set_by, p_session.status_set_by) = p_session.status_set_by", "true"),
    ("step_refusal", "and t.actor_role = p_role", ""),
    ("step_refusal", "return private.sequence_refusal(p_session);", "null;"),
    ("step_refusal", "p_role = 'tutor' and private.is_live(p_session.status)", "private.is_live(p_session.status)"),
    ("sequence_refusal", "and s.status in ('scheduled', 'in_progress')", ""),
    # Another time: this role, this version, legal, to come.
    ("move_step", "if not private.is_lesson_time(p_start_utc) then", "if false then"),
    (
        "move_step",
        "if v_session.status = 'scheduled' and v_session.scheduled_start_utc = p_start_utc then",
        "if true then",
    ),
    ("move_step", "if p_expected_version <> v_session.version then", "if false then"),
    ("move_step", "private.step_refusal(v_session, 'scheduled', p_role, p_reason, p_at_new_time => true)", "null"),
    ("move_step", "if p_start_utc < private.now() then", "if false then"),
    # Wishes: who may ask, whose they are, what they may say, and when they end.
    ("request_reschedule", ", p_at_new_time => true, p_is_wish => true);\n  v_session", ");\n  v_session"),
    (
        "request_reschedule",
        "v_session, 'scheduled', v_role, p_reason, p_at_new_time",
        "null, null, null, null, p_at_new_time",
    ),
    ("request_reschedule", "where proposed < private.now()", "where false"),
    ("list_reschedule_requests", "if v_limit not between 1 and 200 then", "if false then"),
    ("lock_reschedule_request", "if not found then", "if false then"),
    (
        "lock_reschedule_request",
        "(requested_by_user_id = p_caller_id or private.has_role(p_caller_id, 'admin'))",
        "true",
    ),
    ("lock_reschedule_request", " or private.has_role(p_caller_id, 'admin')", ""),
    ("accept_reschedule_request", "if v_request.status <> 'pending' then", "if false then"),
    ("accept_reschedule_request", "if v_start is null or", "if"),
    ("accept_reschedule_request", "perform private.move_step(", "perform ("),
    ("close_reschedule_request", "and v_request.requested_by_user_id <> p_caller_id then", "and false then"),
    ("close_reschedule_request", "if v_request.status <> 'pending' then", "if false then"),
    ("lapse_reschedule_requests", "and r.status = 'pending'", ""),
    ("lapse_reschedule_requests", "r.session_id = n.id and", ""),
    ("lapse_reschedule_requests", "and (o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)", ""),
    ("lapse_reschedule_requests", "(o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)", "false"),
    (
        "lapse_reschedule_requests",
        "(o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)",
        "o.status <> n.status",
    ),
    ("lapse_reschedule_requests", "and n.status <> 'rescheduled'", ""),
    ("record_wish", "if tg_op = 'INSERT' or new.status <> old.status then", "if false then"),
    ("record_wish", "case when tg_op = 'INSERT' then 'requested' else new.status::text end", "'requested'"),
    # The same of wishes to cancel.
    ("cancel_session", "'cancelled');\nbegin", "'in_progress');\nbegin"),
    ("request_cancellation", ", p_is_wish => true);\n  v_session", ");\n  v_session"),
    ("request_cancellation", "perform private.refuse_if(v_refusal);", "null;"),
    ("cancellation_wish_refusal", "when v_open.id is not null then", "when false then"),
    (
        "cancellation_wish_refusal",
        "private.step_refusal(p_session, 'cancelled', p_role, null, p_is_wish => true)",
        "null",
    ),
    ("list_cancellation_requests", "if v_limit not between 1 and 200 then", "if false then"),
    (
        "get_cancellation_request",
        "(requested_by_user_id = v_caller_id or private.has_role(v_caller_id, 'admin'))",
        "true",
    ),
    ("get_cancellation_request", " or private.has_role(v_caller_id, 'admin')", ""),
    ("lock_cancellation_request", "if not found then", "if false then"),
    (
        "lock_cancellation_request",
        "(requested_by_user_id = p_caller_id or private.has_role(p_caller_id, 'admin'))",
        "true",
    ),
    ("lock_cancellation_request", " or private.has_role(p_caller_id, 'admin')", ""),
    ("close_cancellation_request", "and v_request.requested_by_user_id <> p_caller_id then", "and false then"),
    ("close_cancellation_request", "if v_request.status not in ('pending', 'call_requested') then", "if false then"),
    ("close_cancellation_request", "v_request.session_id, 'cancelled',", "v_request.session_id, 'scheduled',"),
    ("close_cancellation_request", "if p_to = 'approved' then", "if false then"),
    ("lapse_cancellation_requests", "and r.status in ('pending', 'call_requested')", ""),
    ("lapse_cancellation_requests", "r.session_id = n.id and", ""),
    ("lapse_cancellation_requests", "(o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)", "true"),
    ("lapse_cancellation_requests", "(o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)", "false"),
    # A guardian's word.
    ("consent_of_token", "and t.created_at >= private.consent_tokens_good_since()", ""),
    ("consent_of_token", "and r.asked_guardian_id is not null", ""),
    ("require_consent", "if v_request_id is null then", "if false then"),
    ("answer_consent", "if p_answer is null or p_answer not in", "if p_answer is null and p_answer not in"),
    ("take_silence_for_consent", "v_request.expires_at is null or v_request.expires_at > private.now()", "false"),
    ("decide_consent", "if v_to = 'approved' then", "if false then"),
    ("decide_consent", "elsif v_to = 'reschedule_requested' then", "elsif false then"),
    ("take_consent_message", "if v_request_id is null then", "if true then"),
    # A series.
    ("series", "and private.step_refusal(s, 'scheduled', 'admin', null, p_at_new_time => true) is null", ""),
    ("series", "when 'one' then s.id = p_session_id", "when 'one' then true"),
    ("series_package", "if p_scope is null then", "if false then"),
    ("series_inputs", "if v_moving = '{}' then", "if false then"),
    ("reschedule_series", "if p_fingerprint is distinct from", "if false and p_fingerprint is distinct from"),
    ("reschedule_series", "if jsonb_typeof(p_moves) is distinct from 'array' or", "if false and"),
    ("review_session", "v_caller_id in (tutor_user_id, student_user_id) or private.is_admin()", "true"),
    ("review_session", " or private.is_admin()", ""),
    (
        "review_session",
        "v_session.student_user_id <> v_caller_id or not private.has_role(v_caller_id, 'student')",
        "false",
    ),
    ("review_session", "perform private.refuse(409, 'already_reviewed', 'The session has its review.');", "null;"),
    ("review_session", "if v_closes_at is null then", "if false then"),
    # Calendars.
    ("read_calendar_feed", "if not found then", "if false then"),
    ("read_calendar_feed", "and a.deactivated_at is null", ""),
    # Progress.
    ("assessment_progress", "and (p_tutor_id is null or e.tutor_user_id = p_tutor_id)", ""),
    ("lesson_progress", "and (p_tutor_id is null or tutor_user_id = p_tutor_id)", ""),
    ("homework_progress", "and (p_tutor_id is null or tutor_user_id = p_tutor_id)", ""),
    ("package_progress", "p_tutor_id is null\n            or", "true or"),
    ("get_progress", "case v_side when 'tutor' then v_caller_id end", "null"),
    ("read_progress_link", "if not found then", "if false then"),
    ("read_progress_link", "and l.revoked_at is null", ""),
    ("read_progress_link", "and l.expires_at > now()", ""),
    # The learning record: whose it is, who writes into it, and that reading picks a student's rows as the caller.
    ("record_side", "when private.has_role(p_caller_id, 'admin') then 'admin'", "when true then 'admin'"),
    ("record_side", "when private.has_role(p_caller_id, 'admin') then 'admin'", "when false then 'admin'"),
    ("record_side", "when p_student_id = p_caller_id then 'student'", "when false then 'student'"),
    ("record_side", "from public.matches where student_user_id = p_student_id and", "from public.matches where"),
    ("record_side", "private.has_role(p_student_id, 'student')\n", "true\n"),
    ("require_teacher", "if v_side = 'admin' or ", "if "),
    ("require_teacher", " and private.has_role(p_caller_id, 'tutor')", ""),
    ("require_teacher", "from public.bookings", "from (select * from public.bookings where false) as none"),
    ("tutor_in_record", " and (p_side = 'admin' or tutor_user_id = p_caller_id)", ""),
    ("tutor_in_record", "if not found then", "if false then"),
    ("clean_text", "(v_text is null and p_is_needed)", "false"),
    ("lock_homework", "p_caller_id in (student_user_id, tutor_user_id) or ", ""),
    (
        "lock_homework",
        "(p_caller_id in (student_user_id, tutor_user_id) or private.has_role(p_caller_id, 'admin'))",
        "true",
    ),
    ("lock_homework", " or private.has_role(p_caller_id, 'admin')) for update", ") for update"),
    ("lock_homework", "if not (private.has_role(p_caller_id, 'admin')\n          or ", "if not ("),
    ("lock_homework", " and private.has_role(p_caller_id, 'tutor')", ""),
    ("lock_homework", " and p_to = 'submitted'", ""),
    ("submit_homework", "if v_homework.status = 'submitted' and", "if false and"),
    ("submit_homework", "if v_homework.status <> 'assigned' then", "if false then"),
    ("review_homework", "if v_homework.status = 'reviewed' and", "if false and"),
    ("review_homework", "if v_homework.status <> 'submitted' then", "if false then"),
    ("record_page", "perform private.record_side(p_student_id, private.require_caller());", "null;"),
    ("record_page", "if coalesce(p_limit, 50) not between 1 and 200 then", "if false then"),
    ("found_events", "perform private.record_side(p_student_id, private.require_caller());", "null;"),
    ("found_events", "if v_limit not between 1 and 50 then", "if false then"),
    ("embedding_space", "if private.is_line(p_model, 120) is not true then", "if false then"),
    ("list_learning_events", "(e.student_user_id = list_learning_events.p_student_id) AND ", ""),
    ("list_assessments", "(e.student_user_id = list_assessments.p_student_id) AND ", ""),
    ("list_notes", "(e.student_user_id = list_notes.p_student_id) AND ", ""),
    ("list_homework", "(h.student_user_id = list_homework.p_student_id) AND ", ""),
    ("search_learning_events", "(e.student_user_id = search_learning_events.p_student_id) AND ", ""),
    *(
        (function, " STABLE\n", " STABLE SECURITY DEFINER\n")
        for function in (
            "list_learning_events",
            "list_assessments",
            "list_notes",
            "list_homework",
            "search_learning_events",
            "events_for_brief",
        )
    ),
    # Briefs and summaries.
    ("session_for", "p_caller_id in (tutor_user_id, student_user_id) or ", ""),
    (
        "session_for",
        "(p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin'))",
        "true",
    ),
    ("session_for", " or private.has_role(p_caller_id, 'admin')", ""),
    ("prep_refusal", "not in ('tutor', 'admin') then", "is null then"),
    ("prep_refusal", "p_session.status not in ('scheduled', 'in_progress', 'rescheduled')", "false"),
    ("events_for_brief", "(NOT e.is_private) OR ", "true OR "),
    ("brief_from", "perform private.refuse_if(private.prep_refusal(v_session, v_caller_id));", "null;"),
    ("keep_brief", "perform private.refuse_if(private.prep_refusal(v_session, v_caller_id));", "null;"),
    ("keep_brief", "if not private.is_brief(p_brief) then", "if false then"),
    ("keep_brief", "if v_unknown is not null then", "if false then"),
    ("session_to_summarize", "not in ('tutor', 'admin') then", "is null then"),
    ("session_to_summarize", "if v_session.status <> 'done' then", "if false then"),
    ("store_summary_draft", "    where s.status = 'draft'", ""),
    ("lock_summary", "if v_summary.status = 'draft' and", "if false and"),
    ("update_summary", "if v_summary.status = 'approved' then", "if false then"),
    ("get_summary", "status = 'approved' or ", ""),
    ("get_summary", "tutor_user_id = v_caller_id or ", ""),
    ("get_summary", " or private.has_role(v_caller_id, 'admin')", ""),
    (
        "get_summary",
        "(status = 'approved' or tutor_user_id = v_caller_id or private.has_role(v_caller_id, 'admin'))",
        "true",
    ),
    # Sending again.
    ("replay_delivery", "v_delivery.status = 'pending' or ", ""),
    # Being told.
    ("list_messages", "(v_is_admin or reader_profile_id = v_caller_id)", "true"),
    ("list_messages", "v_is_admin or ", ""),
    ("list_messages", "if v_limit not between 1 and 200 then", "if false then"),
    ("list_inbox", "if v_limit not between 1 and 200 then", "if false then"),
    ("retry_message", "if not found then", "if false then"),
    ("retry_message", "if v_message.status not in ('failed', 'unknown', 'unreachable') then", "if false then"),
    ("retry_message", "if private.is_outdated(v_message) then", "if false then"),
    ("settle_messages", "jsonb_typeof(p_results) is distinct from 'array'\n     or", "false or"),
    ("note_message_statuses", "jsonb_typeof(p_statuses) is distinct from 'array' or", "false or"),
]
"""Private function, a guard in its source, and what stands there instead."""


@pytest.mark.parametrize(("function", "guard", "instead"), GUARDS)
def test_a_guard_taken_away_is_missed(house: Database, function: str, guard: str, instead: str) -> None:
    source = definition(house, function)
    assert source.count(guard) == 1, f"private.{function} no longer says this once: {guard}"
    mutant = sql.SQL(literal(source.replace(guard, instead)))
    assert not survives(house, mutant, wrong_turns, wrong_terms, wrong_calls, wrong_answers, wrong_sights)


@pytest.mark.parametrize("called", sorted({*FUNCTIONS} - FOR_THE_SERVICE))
def test_a_function_of_admins_that_asks_nobody_is_missed(house: Database, called: str) -> None:
    cells = {cell for deed, row in grid(MAY).items() if deed == called for who, cell in row.items() if who != "N"}
    function = ASKED_BY.get(called, called)
    source = definition(house, function)
    asks = [ask for ask in ("private.require_admin()", "private.require_caller()") if ask in source]
    assert asks, f"private.{function} does not ask who is calling"
    # What only admins may do asks for an admin; all else at least for a caller.
    assert cells != {"x", "401", "403"} or asks == ["private.require_admin()"]
    for ask in asks:
        mutant = sql.SQL(literal(source.replace(ask, "private.caller_id()")))
        assert survives(house, mutant, partial(wrong_calls, functions=[called])) == ((function, ask) in ASKED_AGAIN)


ASKED_BY = {
    "list_learning_events": "record_page", "list_assessments": "record_page", "list_notes": "record_page",
    "list_homework": "record_page", "search_learning_events": "found_events", "brief_inputs": "brief_from",
    "store_brief": "keep_brief",
}  # fmt: skip
"""Which function asks, where the one that is called only picks rows as the caller."""
ASKED_AGAIN = {
    ("create_request", "private.require_caller()"),
    ("create_listing", "private.require_caller()"),
    ("get_availability", "private.require_caller()"),
    ("set_availability", "private.require_caller()"),
    ("update_settings", "private.require_admin()"),
}
"""Asked a second time within the call: what nobody does for oneself goes on to ask for an admin, `update_settings`
answers what `get_settings` reads."""


# --- mutating ----------------------------------------------------------------------------------------------------


def survives(house: Database, mutation: sql.SQL | sql.Composed, *comparisons: Comparison) -> bool:
    """Whether the mutated house still looks right; the mutation is taken back."""
    with house.connection.transaction(force_rollback=True):
        house.connection.execute(mutation)
        return not any(missed(comparison, house) for comparison in comparisons)


def missed(comparison: Comparison, house: Database) -> bool:
    """Whether the comparison finds anything; a mutant that breaks the database is found too."""
    try:
        with house.connection.transaction():
            return bool(comparison(house))
    except (psycopg.Error, Refused):
        return True


def definition(house: Database, function: str) -> str:
    (row,) = house.rows(
        "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'private'::regnamespace and proname = %s",
        function,
    )
    return row[0]


def split_or(condition: str) -> list[str]:
    """The parts of a condition between its outermost `OR`s, as Postgres prints it."""
    inside = condition.removeprefix("(").removesuffix(")") if enclosed(condition) else condition
    parts: list[str] = []
    depth = start = 0
    for position, character in enumerate(inside):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and inside.startswith(" OR ", position):
            parts.append(inside[start:position])
            start = position + 4
    return [*parts, inside[start:]]


def enclosed(condition: str) -> bool:
    """Whether the first bracket closes with the last."""
    depth = 0
    for position, character in enumerate(condition):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return position == len(condition) - 1
    return False


def literal(text: str) -> LiteralString:
    """A statement made from the database's own source is as good as one written here."""
    return cast("LiteralString", text)
