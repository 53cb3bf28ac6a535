"""Each route sends one RPC with these arguments and answers with what it gives."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from tests.functions import samples as s
from tests.functions.conftest import Rpcs, token


class Case(NamedTuple):
    """A request, the RPC it becomes, and the status of the answer."""

    method: str
    path: str
    body: Mapping[str, Any] | None
    rpc: str
    sent: Mapping[str, Any]
    answer: Mapping[str, Any]
    status: int = 200
    operation: str | None = None
    """Its name in the OpenAPI document, where it is not the RPC's."""

    def __str__(self) -> str:
        return self.operation or self.rpc


SEEN: Mapping[str, Any] = {"session": s.session, "viewer_timezone": "Asia/Karachi"}
WISHED: Mapping[str, Any] = {"request": s.reschedule_request, "viewer_timezone": "Asia/Karachi"}
CANCELLED: Mapping[str, Any] = {"request": s.wish, "viewer_timezone": "Asia/Karachi"}
BOOKED: Mapping[str, Any] = {"booking": s.booking, "viewer_timezone": "Asia/Karachi"}

CASES = [
    Case("GET", "/me", None, "get_me", {}, s.person),
    Case(
        "PATCH",
        "/me",
        {"timezone": "Asia/Karachi", "language": "", "quiet_from": "21:30", "quiet_until": "", "whatsapp_opt_in": True},
        "update_me",
        {
            "p_timezone": "Asia/Karachi",
            "p_language": "",
            "p_quiet_from": "21:30",
            "p_quiet_until": "",
            "p_whatsapp_opt_in": True,
        },
        s.person,
    ),
    Case("POST", "/me/calendar-token", None, "rotate_calendar_token", {}, {"token": s.feed_token}, 201),
    Case(
        "POST",
        "/people",
        {
            "email": "amina@example.com",
            "display_name": " Amina Siddiqui ",
            "timezone": "Asia/Karachi",
            "roles": ["tutor"],
            "language": "de",
        },
        "create_person",
        {
            "p_email": "amina@example.com",
            "p_display_name": "Amina Siddiqui",
            "p_timezone": "Asia/Karachi",
            "p_roles": ["tutor"],
            "p_language": "de",
            "p_whatsapp_opt_in": False,
        },
        s.person,
        201,
    ),
    Case(
        "PATCH",
        f"/people/{s.TUTOR}",
        {"phone": "", "is_active": False, "roles": []},
        "update_person",
        {"p_person_id": s.TUTOR, "p_phone": "", "p_is_active": False, "p_roles": []},
        s.person,
    ),
    Case(
        "POST",
        "/guardians",
        {"student_id": s.STUDENT, "name": "Grace", "timezone": "Europe/London", "phone": "+447700900123"},
        "create_guardian",
        {
            "p_student_id": s.STUDENT,
            "p_name": "Grace",
            "p_timezone": "Europe/London",
            "p_phone": "+447700900123",
            "p_whatsapp_opt_in": False,
        },
        s.guardian,
        201,
    ),
    Case(
        "PATCH",
        f"/guardians/{s.OTHER}",
        {"email": "", "is_primary": True},
        "update_guardian",
        {"p_guardian_id": s.OTHER, "p_email": "", "p_is_primary": True},
        s.guardian,
    ),
    Case(
        "POST",
        "/requests",
        {"subject": "Mathematics"},
        "create_request",
        {"p_subject": "Mathematics"},
        s.request,
        201,
    ),
    Case(
        "PATCH",
        f"/requests/{s.REQUEST}",
        {"level": "", "status": "closed"},
        "update_request",
        {"p_request_id": s.REQUEST, "p_level": "", "p_status": "closed"},
        s.request,
    ),
    Case(
        "POST",
        "/matches",
        {"request_id": s.REQUEST, "tutor_id": s.TUTOR, "schedule_pattern": s.PATTERN, "meet_link": s.MEET},
        "create_match",
        {
            "p_request_id": s.REQUEST,
            "p_tutor_id": s.TUTOR,
            "p_schedule_pattern": s.PATTERN,
            "p_meet_link": s.MEET,
        },
        s.match,
        201,
    ),
    Case(
        "PATCH",
        f"/matches/{s.MATCH}",
        {"meet_link": ""},
        "update_match",
        {"p_match_id": s.MATCH, "p_meet_link": ""},
        s.match,
    ),
    Case(
        "PUT",
        f"/matches/{s.MATCH}/schedule",
        {"schedule_pattern": {"timezone": "Europe/London", "days": [4, 2], "time": "16:30"}},
        "set_match_schedule",
        {"p_match_id": s.MATCH, "p_schedule_pattern": s.PATTERN},
        s.match,
    ),
    Case(
        "POST",
        "/packages",
        {"request_id": s.REQUEST, "tier_sessions": 8, "start_date": "2026-03-01", "end_date": "2026-04-30"},
        "create_package",
        {
            "p_request_id": s.REQUEST,
            "p_tier_sessions": 8,
            "p_start_date": "2026-03-01",
            "p_end_date": "2026-04-30",
            "p_opening_used": 0,
        },
        s.package,
        201,
    ),
    Case(
        "PATCH",
        f"/packages/{s.PACKAGE}",
        {"tier_sessions": 12},
        "update_package",
        {"p_package_id": s.PACKAGE, "p_tier_sessions": 12},
        s.package,
    ),
    Case(
        "POST",
        f"/packages/{s.PACKAGE}/renew",
        {"tier_sessions": 12},
        "renew_package",
        {"p_package_id": s.PACKAGE, "p_create": False, "p_tier_sessions": 12},
        s.renewal,
    ),
    Case("GET", f"/packages/{s.PACKAGE}/statement", None, "get_statement", {"p_package_id": s.PACKAGE}, s.statement),
    Case(
        "POST",
        f"/matches/{s.MATCH}/end",
        {"reason": " moving away "},
        "end_match",
        {"p_match_id": s.MATCH, "p_reason": "moving away"},
        {"match": {**s.match, "status": "ended"}, "cancelled": [s.SESSION]},
    ),
    Case(
        "POST",
        "/holidays",
        {"on_date": "2026-03-20", "name": "Eid al-Fitr"},
        "create_holiday",
        {"p_on_date": "2026-03-20", "p_name": "Eid al-Fitr"},
        s.holiday,
        201,
    ),
    Case(
        "PATCH",
        f"/holidays/{s.OTHER}",
        {"name": "Eid"},
        "update_holiday",
        {"p_holiday_id": s.OTHER, "p_name": "Eid"},
        s.holiday,
    ),
    Case("DELETE", f"/holidays/{s.OTHER}", None, "delete_holiday", {"p_holiday_id": s.OTHER}, s.holiday),
    Case(
        "POST",
        "/time-off",
        {
            "user_id": s.TUTOR,
            "starts_at": "2026-03-10T09:00:00+05:00",
            "ends_at": "2026-03-10T12:00:00Z",
            "note": "dentist",
        },
        "create_time_off",
        {
            "p_user_id": s.TUTOR,
            "p_starts_at": "2026-03-10T04:00:00Z",
            "p_ends_at": "2026-03-10T12:00:00Z",
            "p_note": "dentist",
        },
        s.time_off,
        201,
    ),
    Case(
        "PATCH",
        f"/time-off/{s.OTHER}",
        {"starts_on": "2026-03-10", "ends_on": "2026-03-12"},
        "update_time_off",
        {"p_time_off_id": s.OTHER, "p_starts_on": "2026-03-10", "p_ends_on": "2026-03-12"},
        s.time_off,
    ),
    Case("DELETE", f"/time-off/{s.OTHER}", None, "delete_time_off", {"p_time_off_id": s.OTHER}, s.time_off),
    Case(
        "POST",
        f"/matches/{s.MATCH}/sessions/extra",
        {"start_utc": "2026-04-01T15:30:00Z", "reason": "make-up"},
        "add_extra_session",
        {"p_match_id": s.MATCH, "p_start_utc": "2026-04-01T15:30:00Z", "p_reason": "make-up"},
        SEEN,
        201,
    ),
    Case(
        "GET",
        "/sessions",
        None,
        "list_sessions",
        {"p_limit": 50},
        {"sessions": [], "has_more": False, "viewer_timezone": "UTC"},
    ),
    Case(
        "POST",
        "/import",
        {},
        "import_house",
        {"p_people": [], "p_matches": [], "p_packages": [], "p_dry_run": True},
        s.imported,
    ),
    Case(
        "GET", f"/sessions/{s.SESSION}", None, "get_session", {"p_session_id": s.SESSION}, {**SEEN, "moves": [s.move]}
    ),
    Case(
        "PATCH",
        f"/sessions/{s.SESSION}",
        {"start_utc": "2026-04-01T20:30:00+05:00", "reason": " School trip ", "expected_version": 3},
        "reschedule_session",
        {
            "p_session_id": s.SESSION,
            "p_start_utc": "2026-04-01T15:30:00Z",
            "p_reason": "School trip",
            "p_expected_version": 3,
        },
        {**SEEN, "changed": True},
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/cancel",
        {"reason": " flu ", "expected_version": 3},
        "cancel_session",
        {"p_session_id": s.SESSION, "p_reason": "flu", "p_expected_version": 3},
        {**SEEN, "changed": True},
    ),
    Case(
        "DELETE",
        f"/sessions/{s.SESSION}?reason=%20the%20flu&expected_version=3&tz=Europe/London",
        None,
        "cancel_session",
        {"p_session_id": s.SESSION, "p_reason": "the flu", "p_expected_version": 3},
        {**SEEN, "changed": True},
        operation="cancel_session_by_delete",
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/request-reschedule",
        {"reason": " School trip ", "proposed_starts_utc": ["2026-04-01T20:30:00+05:00", "2026-04-02T15:30:00Z"]},
        "request_reschedule",
        {
            "p_session_id": s.SESSION,
            "p_reason": "School trip",
            "p_proposed_starts_utc": ["2026-04-01T15:30:00Z", "2026-04-02T15:30:00Z"],
        },
        {**WISHED, "changed": True},
        202,
    ),
    Case(
        "GET",
        f"/reschedule-requests?status=pending&session_id={s.SESSION}&limit=7",
        None,
        "list_reschedule_requests",
        {"p_status": "pending", "p_session_id": s.SESSION, "p_limit": 7},
        {"requests": [], "has_more": False, "viewer_timezone": "UTC"},
    ),
    *(
        Case(
            "POST",
            f"/reschedule-requests/{s.WISH}/{decision}",
            body,
            f"{decision}_reschedule_request",
            {"p_request_id": s.WISH, **sent},
            {**WISHED, "changed": True},
        )
        for decision, body, sent in (
            ("accept", None, {}),
            (
                "accept",
                {"start_utc": "2026-04-01T20:30:00+05:00", "reason": "Fine"},
                {"p_start_utc": "2026-04-01T15:30:00Z", "p_reason": "Fine"},
            ),
            ("reject", None, {}),
            ("reject", {"reason": "Too late"}, {"p_reason": "Too late"}),
            ("withdraw", None, {}),
        )
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/request-cancel",
        {"reason": " flu "},
        "request_cancellation",
        {"p_session_id": s.SESSION, "p_reason": "flu"},
        {**CANCELLED, "changed": True},
        202,
    ),
    Case(
        "GET",
        f"/cancellation-requests?status=auto_approved&session_id={s.SESSION}",
        None,
        "list_cancellation_requests",
        {"p_status": "auto_approved", "p_session_id": s.SESSION, "p_limit": 50},
        {"requests": [], "has_more": False, "viewer_timezone": "UTC"},
    ),
    Case(
        "GET",
        f"/cancellation-requests/{s.WISH}",
        None,
        "get_cancellation_request",
        {"p_request_id": s.WISH},
        CANCELLED,
    ),
    *(
        Case(
            "POST",
            f"/cancellation-requests/{s.WISH}/{decision}",
            body,
            f"{decision}_cancellation",
            {"p_request_id": s.WISH, **sent},
            {**CANCELLED, "changed": True},
        )
        for decision, body, sent in (
            ("approve", None, {}),
            ("approve", {"reason": "Get well"}, {"p_reason": "Get well"}),
            ("reject", None, {}),
            ("reject", {"reason": "Too late"}, {"p_reason": "Too late"}),
            ("withdraw", None, {}),
        )
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/status",
        {"status": "done", "notes": "", "expected_version": 1},
        "tutor_update_session",
        {"p_session_id": s.SESSION, "p_status": "done", "p_notes": "", "p_expected_version": 1},
        {**SEEN, "changed": True},
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/package",
        {"package_id": s.OTHER, "reason": "mixed up"},
        "move_session_to_package",
        {"p_session_id": s.SESSION, "p_package_id": s.OTHER, "p_reason": "mixed up"},
        {**SEEN, "changed": True},
    ),
    *(
        Case(
            method,
            f"/sessions/{s.SESSION}/{action}",
            body,
            f"{action}_session",
            {"p_session_id": s.SESSION, **{f"p_{name}": value for name, value in (body or {}).items()}},
            {**SEEN, "changed": True},
            operation=operation,
        )
        for action, body in (
            ("start", None),
            ("start", {"expected_version": 3}),
            ("complete", None),
            ("complete", {"notes": "", "expected_version": 3}),
        )
        for method, operation in (("POST", None), ("PATCH", f"{action}_session_by_patch"))
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/missed",
        {"by": "tutor", "notes": "Train", "reason": " strike ", "notify_guardian": True, "expected_version": 3},
        "mark_missed",
        {
            "p_session_id": s.SESSION,
            "p_by": "tutor",
            "p_notes": "Train",
            "p_reason": "strike",
            "p_notify_guardian": True,
            "p_expected_version": 3,
        },
        {**SEEN, "changed": True},
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/dispute",
        {"reason": "Nobody came"},
        "dispute_session",
        {"p_session_id": s.SESSION, "p_reason": "Nobody came"},
        {**SEEN, "changed": True},
    ),
    *(
        Case(
            "POST",
            f"/sessions/{s.SESSION}/review",
            {"rating": 5, "comment": "I understand fractions now."},
            "review_session",
            {"p_session_id": s.SESSION, "p_rating": 5, "p_comment": "I understand fractions now."},
            {"review": s.review, "changed": changed},
            status,
        )
        for changed, status in ((True, 201), (False, 200))
    ),
    Case("POST", "/sessions/refresh-status", None, "refresh_session_statuses", {}, s.refreshed),
    Case("GET", "/listings", None, "list_listings", {"p_limit": 50}, {"listings": [], "has_more": False}),
    Case(
        "POST",
        "/listings",
        {"title": " Exam clinic ", "subject": "Mathematics", "meet_link": s.MEET, "tutor_id": s.TUTOR},
        "create_listing",
        {
            "p_title": "Exam clinic",
            "p_duration_mins": 60,
            "p_subject": "Mathematics",
            "p_meet_link": s.MEET,
            "p_is_active": True,
            "p_tutor_id": s.TUTOR,
        },
        s.listing,
        201,
    ),
    Case("GET", f"/listings/{s.LISTING}", None, "get_listing", {"p_listing_id": s.LISTING}, s.listing),
    Case(
        "PATCH",
        f"/listings/{s.LISTING}",
        {"description": "", "subject": "", "meet_link": "", "duration_mins": 30, "is_active": False},
        "update_listing",
        {
            "p_listing_id": s.LISTING,
            "p_description": "",
            "p_subject": "",
            "p_meet_link": "",
            "p_duration_mins": 30,
            "p_is_active": False,
        },
        s.listing,
    ),
    Case("GET", "/availability", None, "get_availability", {}, s.availability),
    Case("GET", f"/availability?tutor_id={s.TUTOR}", None, "get_availability", {"p_tutor_id": s.TUTOR}, s.availability),
    Case(
        "PUT",
        f"/availability?tutor_id={s.TUTOR}",
        {"timezone": "Europe/London", "hours": [{"weekday": 1, "starts_at": "22:00", "ends_at": "24:00"}]},
        "set_availability",
        {
            "p_timezone": "Europe/London",
            "p_hours": [{"weekday": 1, "starts_at": "22:00", "ends_at": "24:00"}],
            "p_tutor_id": s.TUTOR,
        },
        s.availability,
    ),
    Case(
        "GET",
        f"/slots?listing_id={s.LISTING}&from=2026-03-01T00:00:00%2B05:00&to=2026-03-08T00:00:00Z",
        None,
        "slot_inputs",
        {"p_listing_id": s.LISTING, "p_from": "2026-02-28T19:00:00+00:00", "p_to": "2026-03-08T00:00:00+00:00"},
        s.slot_inputs,
        operation="list_slots",
    ),
    Case(
        "GET",
        "/bookings?role=tutor&status=draft&status=accepted&from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z&limit=2",
        None,
        "list_bookings",
        {
            "p_role": "tutor",
            "p_status": ["draft", "accepted"],
            "p_from": "2026-03-01T00:00:00Z",
            "p_to": "2026-04-01T00:00:00Z",
            "p_limit": 2,
        },
        {"bookings": [s.booking], "has_more": False, "viewer_timezone": "UTC"},
    ),
    Case("GET", f"/bookings/{s.BOOKING}", None, "get_booking", {"p_booking_id": s.BOOKING}, BOOKED),
    Case(
        "POST",
        f"/bookings/{s.BOOKING}/accept",
        {"expected_version": 1},
        "accept_booking",
        {"p_booking_id": s.BOOKING, "p_expected_version": 1},
        {**BOOKED, "session": s.booking_session, "changed": True},
    ),
    *(
        Case(
            "POST",
            f"/bookings/{s.BOOKING}/{action}",
            {"reason": " Ill ", "expected_version": 1},
            f"{action}_booking",
            {"p_booking_id": s.BOOKING, "p_reason": "Ill", "p_expected_version": 1},
            {**BOOKED, "session": None, "changed": True},
        )
        for action in ("decline", "cancel")
    ),
    Case("GET", "/settings", None, "get_settings", {}, s.house_settings),
    Case(
        "PATCH",
        "/settings",
        {"start_window_mins": 0, "sequence_lock": False, "tutor_may_reschedule": True, "consent_hours": 24},
        "update_settings",
        {
            "p_start_window_mins": 0,
            "p_sequence_lock": False,
            "p_tutor_may_reschedule": True,
            "p_consent_hours": 24,
        },
        s.house_settings,
    ),
    Case(
        "GET",
        f"/admin/metrics?from=2026-03-01T00:00:00%2B05:00&to=2026-04-01T00:00:00Z&tutor_id={s.TUTOR}",
        None,
        "get_metrics",
        {"p_from": "2026-02-28T19:00:00Z", "p_to": "2026-04-01T00:00:00Z", "p_tutor_id": s.TUTOR},
        s.metrics,
    ),
    Case(
        "GET",
        f"/admin/metrics/daily?from=2026-03-01&to=2026-03-31&tutor_id={s.TUTOR}",
        None,
        "get_daily_outcomes",
        {"p_from": "2026-03-01", "p_to": "2026-03-31", "p_tutor_id": s.TUTOR},
        s.daily,
    ),
    Case(
        "GET",
        "/webhook-endpoints",
        None,
        "list_webhook_endpoints",
        {},
        {"endpoints": [s.endpoint], "event_types": [s.event_type]},
    ),
    Case(
        "POST",
        "/webhook-endpoints",
        {"url": s.endpoint["url"], "description": " The bookkeeping ", "event_types": ["session.completed"]},
        "create_webhook_endpoint",
        {
            "p_url": s.endpoint["url"],
            "p_description": "The bookkeeping",
            "p_event_types": ["session.completed"],
        },
        {**s.endpoint, "secret": s.secret},
        201,
    ),
    Case(
        "PATCH",
        f"/webhook-endpoints/{s.OTHER}",
        {"description": "", "event_types": [], "is_enabled": False},
        "update_webhook_endpoint",
        {"p_endpoint_id": s.OTHER, "p_description": "", "p_event_types": [], "p_is_enabled": False},
        s.endpoint,
    ),
    Case(
        "DELETE",
        f"/webhook-endpoints/{s.OTHER}",
        None,
        "delete_webhook_endpoint",
        {"p_endpoint_id": s.OTHER},
        s.endpoint,
    ),
    Case(
        "POST",
        f"/webhook-endpoints/{s.OTHER}/rotate-secret",
        None,
        "rotate_webhook_secret",
        {"p_endpoint_id": s.OTHER},
        {**s.endpoint, "secret": s.secret, "previous_valid_until": "2026-04-01T09:00:00+00:00"},
    ),
    Case(
        "GET",
        f"/webhook-endpoints/{s.OTHER}/deliveries?status=dead&limit=7&cursor=evt_42",
        None,
        "list_deliveries",
        {"p_endpoint_id": s.OTHER, "p_status": "dead", "p_limit": 7, "p_after": "evt_42"},
        {"deliveries": [s.delivery], "next": None, "has_more": False},
    ),
    Case(
        "GET",
        f"/deliveries/{s.DELIVERY}",
        None,
        "get_delivery",
        {"p_delivery_id": s.DELIVERY},
        {**s.delivery, "event": s.event, "log": [s.attempt]},
    ),
    Case(
        "POST",
        f"/deliveries/{s.DELIVERY}/replay",
        None,
        "replay_delivery",
        {"p_delivery_id": s.DELIVERY},
        {**s.delivery, "status": "pending", "next_attempt_at": "2026-03-31T16:32:10+00:00"},
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/progress?from=2026-01-01&to=2026-03-31",
        None,
        "get_progress",
        {"p_student_id": s.STUDENT, "p_from": "2026-01-01", "p_to": "2026-03-31"},
        s.progress,
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/progress.html?from=2026-01-01&lang=de",
        None,
        "get_progress",
        {"p_student_id": s.STUDENT, "p_from": "2026-01-01"},
        s.progress,
        operation="get_progress_page",
    ),
    Case(
        "POST",
        f"/guardians/{s.OTHER}/progress-link",
        None,
        "create_progress_link",
        {"p_guardian_id": s.OTHER},
        {**s.progress_link, "token": s.feed_token},
        201,
    ),
    Case(
        "GET",
        f"/guardians/{s.OTHER}/progress-links",
        None,
        "list_progress_links",
        {"p_guardian_id": s.OTHER},
        {"links": [s.progress_link]},
    ),
    Case(
        "DELETE",
        f"/progress-links/{s.OTHER}",
        None,
        "revoke_progress_link",
        {"p_link_id": s.OTHER},
        {**s.progress_link, "revoked_at": "2026-03-02T09:00:00+00:00", "standing": "revoked"},
    ),
    Case(
        "GET",
        "/calendar-syncs?status=failing&status=given_up&limit=1",
        None,
        "list_calendar_syncs",
        {"p_status": ["failing", "given_up"], "p_limit": 1},
        {"is_on": True, "syncs": [s.calendar_sync], "has_more": True, "busy_reads": [s.busy_read]},
    ),
    Case(
        "POST",
        f"/calendar-syncs/{s.SESSION}/retry",
        None,
        "retry_calendar_sync",
        {"p_session_id": s.SESSION},
        s.calendar_sync,
    ),
    Case(
        "GET",
        "/events?after=731.42&limit=7",
        None,
        "list_events",
        {"p_after": "731.42", "p_limit": 7},
        {"events": [s.event], "next": "731.43", "has_more": True},
    ),
    Case(
        "POST",
        f"/students/{s.STUDENT}/assessments",
        {"subject": "Mathematics", "topic": "Fractions", "score": 9, "max_score": 20, "taken_at": "2026-03-24T16:30Z"},
        "record_assessment",
        {
            "p_student_id": s.STUDENT,
            "p_subject": "Mathematics",
            "p_topic": "Fractions",
            "p_score": 9,
            "p_max_score": 20,
            "p_taken_at": "2026-03-24T16:30:00Z",
        },
        {"event": s.learning_event, "changed": True},
        201,
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/assessments?limit=7",
        None,
        "list_assessments",
        {"p_student_id": s.STUDENT, "p_limit": 7},
        {"assessments": [s.learning_event], "has_more": False},
    ),
    Case(
        "POST",
        f"/students/{s.STUDENT}/homework",
        {"title": " Fractions, page 12 ", "due_at": "2026-03-30T16:30:00Z", "session_id": s.SESSION},
        "assign_homework",
        {
            "p_student_id": s.STUDENT,
            "p_title": "Fractions, page 12",
            "p_due_at": "2026-03-30T16:30:00Z",
            "p_session_id": s.SESSION,
        },
        {"homework": s.homework, "changed": True},
        201,
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/homework?status=assigned&status=submitted",
        None,
        "list_homework",
        {"p_student_id": s.STUDENT, "p_status": ["assigned", "submitted"], "p_limit": 50},
        {"homework": [s.homework], "has_more": False},
    ),
    Case(
        "POST",
        f"/homework/{s.HOMEWORK}/submit",
        {"comment": "The last one was hard."},
        "submit_homework",
        {"p_homework_id": s.HOMEWORK, "p_comment": "The last one was hard."},
        {"homework": s.homework, "changed": True},
    ),
    Case(
        "POST",
        f"/homework/{s.HOMEWORK}/review",
        None,
        "review_homework",
        {"p_homework_id": s.HOMEWORK},
        {"homework": s.homework, "changed": True},
    ),
    Case(
        "POST",
        f"/students/{s.STUDENT}/notes",
        {"text": "Likes football.", "is_private": True},
        "add_note",
        {"p_student_id": s.STUDENT, "p_text": "Likes football.", "p_is_private": True},
        {"event": s.learning_event, "changed": True},
        201,
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/notes",
        None,
        "list_notes",
        {"p_student_id": s.STUDENT, "p_limit": 50},
        {"notes": [s.learning_event], "has_more": False},
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/learning-events?types=badge&types=note",
        None,
        "list_learning_events",
        {"p_student_id": s.STUDENT, "p_types": ["badge", "note"], "p_limit": 50},
        {"events": [s.learning_event], "has_more": False},
    ),
    Case(
        "GET",
        f"/students/{s.STUDENT}/search?q=%20fractions&types=assessment&limit=7",
        None,
        "search_learning_events",
        {"p_student_id": s.STUDENT, "p_query": "fractions", "p_types": ["assessment"], "p_limit": 7},
        {"hits": [{"event": s.learning_event, "text_rank": 1, "vector_rank": None, "score": 0.016393}]},
    ),
    Case(
        "GET",
        f"/sessions/{s.SESSION}/prep",
        None,
        "brief_inputs",
        {"p_session_id": s.SESSION},
        {**s.brief_inputs, "brief": s.brief, "is_fresh": True},
        operation="prepare_session",
    ),
    Case(
        "GET",
        f"/sessions/{s.SESSION}/summary",
        None,
        "get_summary",
        {"p_session_id": s.SESSION},
        {"summary": s.summary},
    ),
    Case(
        "PATCH",
        f"/sessions/{s.SESSION}/summary",
        {"text": "We worked on fractions.", "expected_version": 1},
        "update_summary",
        {"p_session_id": s.SESSION, "p_text": "We worked on fractions.", "p_expected_version": 1},
        {"summary": s.summary, "changed": True},
    ),
    Case(
        "POST",
        f"/sessions/{s.SESSION}/summary/approve",
        None,
        "approve_summary",
        {"p_session_id": s.SESSION},
        {"summary": s.summary, "changed": True},
    ),
    Case(
        "GET",
        f"/messages?session_id={s.SESSION}&status=failed&limit=7",
        None,
        "list_messages",
        {"p_session_id": s.SESSION, "p_status": "failed", "p_limit": 7},
        {"messages": [s.message], "has_more": False},
    ),
    Case(
        "POST",
        f"/messages/{s.OTHER}/retry",
        None,
        "retry_message",
        {"p_message_id": s.OTHER},
        {**s.message, "status": "pending", "send_after": "2026-03-31T14:31:00+00:00"},
    ),
    Case(
        "GET", "/inbox?limit=7", None, "list_inbox", {"p_limit": 7}, {"messages": [s.kept_message], "has_more": False}
    ),
]
IN_TWO_TRIPS = {
    "generate_month",
    "preview_sessions",
    "generate_sessions",
    "preview_series",
    "reschedule_series",
    "request_booking",
    "draft_summary",
}
FOR_THE_SCHEDULER = {
    "sweep_session_statuses",
    "deliver_outbox",
    "sync_calendar",
    "send_reminders",
    "clean_up",
    "auto_approve_cancellations",
    "embed_events",
}
WITHOUT_A_SIGN_IN = {"health", "get_calendar", "read_consent", "answer_consent", "read_progress_link"}
FOR_A_PROVIDER = {"take_aisensy_notification", "verify_whatsapp_address", "take_whatsapp_notification"}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_route_sends_its_rpc_and_answers_what_it_gives(
    tutor: httpx.AsyncClient, rpcs: Rpcs, case: Case
) -> None:
    rpcs.answer(case.rpc, case.answer)
    response = await tutor.request(case.method, case.path, json=case.body)
    assert (response.status_code, rpcs.count) == (case.status, 1), response.text
    assert rpcs.sent(case.rpc) == case.sent


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_route_asks_for_a_token_before_anything_else(client: httpx.AsyncClient, rpcs: Rpcs, case: Case) -> None:
    response = await client.request(case.method, case.path, json=case.body and {"no such": "body"})
    assert (response.status_code, rpcs.count) == (401, 0)


def test_every_route_has_a_case(app: FastAPI) -> None:
    described = {operation["operationId"] for path in app.openapi()["paths"].values() for operation in path.values()}
    assert (
        described - WITHOUT_A_SIGN_IN - FOR_THE_SCHEDULER - FOR_A_PROVIDER
        == {str(case) for case in CASES} | IN_TWO_TRIPS
    )


async def test_the_database_hears_the_caller_and_no_other_key(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_me", s.person)
    mine = token(email="amina@example.com")
    await tutor.get("/me", headers={"Authorization": f"Bearer {mine}", "X-Request-Id": "from-the-client-1"})
    headers = rpcs.request("get_me").headers
    assert headers["apikey"] == "sb_publishable_test"
    assert headers["Authorization"] == f"Bearer {mine}"
    assert headers["X-Request-Id"] == "from-the-client-1"


async def test_two_callers_at_once_keep_their_own_tokens(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_me", s.person)
    for sub in (s.STUDENT, s.ADMIN, s.TUTOR):
        theirs = f"Bearer {token(sub=sub)}"
        await tutor.get("/me", headers={"Authorization": theirs})
        assert rpcs.request("get_me").headers["Authorization"] == theirs


async def test_a_person_is_shown_as_the_database_has_them(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_me", {**s.person, "a column of later": 1})
    assert (await tutor.get("/me")).json() == s.person


@pytest.mark.parametrize(
    "path", ["/me", f"/people/{s.TUTOR}", f"/packages/{s.PACKAGE}", f"/time-off/{s.OTHER}", "/settings"]
)
@pytest.mark.parametrize("body", [{}, {"timezone": None}, {"display_name": "A", "timezone": None}, []])
async def test_a_change_that_says_nothing_or_null_is_refused(
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, body: object
) -> None:
    response = await tutor.patch(path, json=body)
    assert (response.status_code, response.json()["code"], rpcs.count) == (422, "invalid", 0)


async def test_time_off_lists_the_sessions_it_hits_on_that_persons_clocks(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("delete_time_off", s.time_off)
    response = await tutor.delete(f"/time-off/{s.OTHER}")
    starts = [hit["scheduled_start_utc"] for hit in response.json()["sessions_hit"]]
    assert starts == ["2026-03-09T18:30:00Z", "2026-03-10T18:59:00Z"]


# --- /sessions ----------------------------------------------------------------------------------------


async def test_the_last_page_leads_nowhere(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("list_sessions", {"sessions": [s.session], "has_more": False, "viewer_timezone": "UTC"})
    page = (await tutor.get("/sessions")).json()
    assert (len(page["sessions"]), page["next_cursor"]) == (1, None)


async def test_every_filter_reaches_the_database(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("list_sessions", {"sessions": [], "has_more": False, "viewer_timezone": "UTC"})
    query = {
        "role": "tutor",
        "student_id": s.STUDENT,
        "tutor_id": s.TUTOR,
        "match_id": s.MATCH,
        "status": ["done", "scheduled"],
        "origin": "match",
        "from": "2026-03-01T00:00:00+05:00",
        "to": "2026-04-01T00:00:00Z",
        "limit": "7",
    }
    response = await tutor.get("/sessions", params=query)
    assert response.status_code == 200, response.text
    assert rpcs.sent("list_sessions") == {
        "p_role": "tutor",
        "p_student_id": s.STUDENT,
        "p_tutor_id": s.TUTOR,
        "p_match_id": s.MATCH,
        "p_status": ["done", "scheduled"],
        "p_origin": "match",
        "p_from": "2026-02-28T19:00:00Z",
        "p_to": "2026-04-01T00:00:00Z",
        "p_limit": 7,
    }


async def test_a_page_leads_to_the_one_behind_its_last_session(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("list_sessions", {"sessions": [s.session], "has_more": True, "viewer_timezone": "UTC"})
    first = (await tutor.get("/sessions", params={"limit": 1})).json()
    rpcs.answer("list_sessions", {"sessions": [], "has_more": False, "viewer_timezone": "UTC"})
    second = (await tutor.get("/sessions", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert rpcs.sent("list_sessions") == {
        "p_limit": 1,
        "p_after_start": "2026-03-31T15:30:00+00:00",
        "p_after_id": s.SESSION,
    }
    assert second == {"sessions": [], "next_cursor": None, "timezone": "UTC"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "not a cursor"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"cursor": "bnVsbA"}, "cursor"),
        ({"cursor": "W" * 201}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"status": "finished"}, "status.0"),
        ({"from": "2026-03-01T00:00:00"}, "from"),
        ({"from": "2026-03-01"}, "from"),
        ({"from": "1772323200"}, "from"),
        ({"to": "9999-12-31T00:00:00Z"}, "to"),
        ({"to": "infinity"}, "to"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "EST"}, "tz"),
        ({"match_id": "1"}, "match_id"),
        ({"role": "owner"}, "role"),
        ({"order": "asc"}, "order"),
    ],
)
async def test_a_bad_filter_is_named(tutor: httpx.AsyncClient, rpcs: Rpcs, query: dict[str, str], field: str) -> None:
    response = await tutor.get("/sessions", params=query)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("viewer", "asked", "shown", "local"),
    [
        ("Asia/Karachi", None, "Asia/Karachi", ("2026-03-31T20:30:00+05:00", "2026-03-31T21:30:00+05:00")),
        ("UTC", "Europe/London", "Europe/London", ("2026-03-31T16:30:00+01:00", "2026-03-31T17:30:00+01:00")),
        ("US/Eastern", None, "UTC", ("2026-03-31T15:30:00Z", "2026-03-31T16:30:00Z")),
        (None, None, "UTC", ("2026-03-31T15:30:00Z", "2026-03-31T16:30:00Z")),
    ],
)
async def test_a_session_shows_its_times_on_the_viewers_clocks(  # noqa: PLR0917
    tutor: httpx.AsyncClient,
    rpcs: Rpcs,
    viewer: str | None,
    asked: str | None,
    shown: str,
    local: tuple[str, str],
) -> None:
    rpcs.answer("get_session", {"session": s.session, "moves": [], "viewer_timezone": viewer})
    query = {} if asked is None else {"tz": asked}
    session = (await tutor.get(f"/sessions/{s.SESSION}", params=query)).json()
    assert (session["timezone"], (session["start_local"], session["end_local"])) == (shown, local)
    assert session["duration_mins"] == 60
    assert session["meet_link"] == s.MEET
    assert session["package"]["position"] == 4


async def test_a_status_that_changes_nothing_says_so(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("tutor_update_session", {**SEEN, "changed": False})
    response = await tutor.post(f"/sessions/{s.SESSION}/status", json={"status": "done"})
    assert (response.status_code, response.json()["changed"]) == (200, False)


async def test_a_session_tells_what_its_viewer_may_do_and_says_no_more_than_it_must(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("list_sessions", {"sessions": [s.session], "has_more": False, "viewer_timezone": "UTC"})
    (session,) = (await tutor.get("/sessions")).json()["sessions"]
    in_utc = json.loads(json.dumps(s.actions).replace("+00:00", "Z"))
    assert session["actions"] == in_utc
    assert "moves" not in session


async def test_one_session_brings_its_history_along(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_session", {**SEEN, "moves": [s.move]})
    session = (await tutor.get(f"/sessions/{s.SESSION}")).json()
    assert session["moves"] == [json.loads(json.dumps(s.move).replace("+00:00", "Z"))]


# --- wishes -------------------------------------------------------------------------------------------


async def test_a_wish_shows_its_times_on_the_viewers_clocks(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("accept_reschedule_request", {**WISHED, "changed": False})
    for query, timezone, local in (
        ("", "Asia/Karachi", "2026-04-01T20:30:00+05:00"),
        ("?tz=Europe/London", "Europe/London", "2026-04-01T16:30:00+01:00"),
    ):
        answer = (await tutor.post(f"/reschedule-requests/{s.WISH}/accept{query}")).json()
        assert (answer["changed"], answer["request"]["session"]["timezone"]) == (False, timezone)
        assert answer["request"]["proposals"] == [
            {"start_utc": "2026-04-01T15:30:00Z", "start_local": local, "is_free": True}
        ]


@pytest.mark.parametrize(
    ("path", "stored"),
    [("reschedule_requests", s.reschedule_request), ("cancellation_requests", s.wish)],
    ids=["reschedule", "cancellation"],
)
async def test_a_page_of_wishes_leads_to_the_one_behind_its_last(
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, stored: Mapping[str, Any]
) -> None:
    rpc, path = f"list_{path}", f"/{path.replace('_', '-')}"
    rpcs.answer(rpc, {"requests": [stored], "has_more": True, "viewer_timezone": "UTC"})
    first = (await tutor.get(path, params={"limit": 1, "tz": "Asia/Karachi"})).json()
    assert (first["timezone"], first["requests"][0]["session"]["timezone"]) == ("Asia/Karachi", "Asia/Karachi")
    rpcs.answer(rpc, {"requests": [], "has_more": False, "viewer_timezone": "UTC"})
    second = (await tutor.get(path, params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert rpcs.sent(rpc) == {
        "p_limit": 1,
        "p_after_created": "2026-03-02T09:00:00.250000+00:00",
        "p_after_id": s.WISH,
    }
    assert second == {"requests": [], "next_cursor": None, "timezone": "UTC"}


# --- the clock, the policies, the figures -------------------------------------------------------------


async def test_what_the_clock_did_is_told_as_the_database_tells_it(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("refresh_session_statuses", s.refreshed)
    assert (await tutor.post("/sessions/refresh-status")).json() == s.refreshed


async def test_the_refreshs_address_is_not_taken_for_a_session(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await tutor.put("/sessions/refresh-status")
    assert (response.status_code, response.headers["Allow"], rpcs.count) == (405, "POST", 0)


async def test_a_button_takes_an_empty_body_as_it_takes_none(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("start_session", {**SEEN, "changed": True})
    for content in ("", "{}", '{"expected_version": null}'):
        headers = {"Content-Type": "application/json"}
        response = await tutor.post(f"/sessions/{s.SESSION}/start", content=content, headers=headers)
        assert response.status_code == 200, response.text
        assert rpcs.sent("start_session") == {"p_session_id": s.SESSION}


async def test_a_button_answers_on_the_clocks_that_were_asked_for(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    bodies = {"start": None, "complete": None, "missed": {"by": "student"}, "dispute": {"reason": "Nobody came"}}
    for action, rpc in {"missed": "mark_missed"}.items() | {
        (each, f"{each}_session") for each in ("start", "complete", "dispute")
    }:
        rpcs.answer(rpc, {**SEEN, "changed": False})
        path = f"/sessions/{s.SESSION}/{action}?tz=Europe/London"
        answer = (await tutor.post(path, json=bodies[action])).json()
        assert (answer["changed"], answer["session"]["timezone"]) == (False, "Europe/London")


async def test_the_policies_are_shown_as_they_are(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_settings", {**s.house_settings, "a column of later": 1})
    assert (await tutor.get("/settings")).json() == {**s.house_settings, "updated_at": "2026-02-01T09:00:00Z"}


async def test_the_figures_are_shown_as_they_are(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_metrics", s.metrics)
    period = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
    answer = (await tutor.get("/admin/metrics", params=period)).json()
    assert answer == {**s.metrics, **period}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({}, ["from", "to"]),
        ({"from": "2026-03-01", "to": "2026-04-01T00:00:00Z"}, ["from"]),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00"}, ["to"]),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "tutor_id": "amina"}, ["tutor_id"]),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "tutor": s.TUTOR}, ["tutor"]),
    ],
)
async def test_a_period_that_is_none_is_named(
    tutor: httpx.AsyncClient, rpcs: Rpcs, query: dict[str, str], fields: list[str]
) -> None:
    response = await tutor.get("/admin/metrics", params=query)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == fields


# --- events and who is told of them -------------------------------------------------------------------


async def test_events_are_shown_as_they_are_sent(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("list_events", {"events": [s.event], "next": "731.43", "has_more": False})
    answer = (await tutor.get("/events")).json()
    event = {**s.event, "occurred_at": "2026-03-31T16:32:10Z"}
    assert answer == {"events": [event], "next": "731.43", "has_more": False}
    assert rpcs.sent("list_events") == {"p_limit": 100}


async def test_deliveries_lead_to_the_page_behind_them(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("list_deliveries", {"deliveries": [s.delivery], "next": "evt_42", "has_more": True})
    page = (await tutor.get(f"/webhook-endpoints/{s.OTHER}/deliveries")).json()
    assert page["next_cursor"] == "evt_42"
    await tutor.get(f"/webhook-endpoints/{s.OTHER}/deliveries", params={"cursor": page["next_cursor"]})
    assert rpcs.sent("list_deliveries") == {"p_endpoint_id": s.OTHER, "p_limit": 50, "p_after": "evt_42"}


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/events", {"after": "42"}, "after"),
        ("/events", {"after": "evt_42"}, "after"),
        ("/events", {"after": "1.2.3"}, "after"),
        ("/events", {"after": "9" * 19 + ".1"}, "after"),
        ("/events", {"limit": "201"}, "limit"),
        ("/events", {"since": "1.2"}, "since"),
        (f"/webhook-endpoints/{s.OTHER}/deliveries", {"cursor": "42"}, "cursor"),
        (f"/webhook-endpoints/{s.OTHER}/deliveries", {"status": "lost"}, "status"),
        (f"/webhook-endpoints/{s.OTHER}/deliveries", {"limit": "0"}, "limit"),
    ],
)
async def test_a_bad_cursor_or_filter_of_events_is_named(
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, query: dict[str, str], field: str
) -> None:
    response = await tutor.get(path, params=query)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://93.184.216.34/hook", "https://"),
        ("https://127.0.0.1/hook", "private network"),
        ("https://localhost:8443/hook", "private network"),
        ("https://2130706433/hook", "private network"),
        ("https://[::1]/hook", "private network"),
        ("https://[::ffff:10.0.0.1]:8443/hook", "private network"),
        ("https://[:::]/hook", "not an address"),
        ("https://169.254.169.254/latest", "private network"),
        ("https://no-such-host.invalid/hook", "cannot be found"),
        ("https://93.184.216.34:70000/hook", "port"),
    ],
)
async def test_an_address_that_nothing_would_be_sent_to_is_refused_before_the_database_hears_of_it(
    tutor: httpx.AsyncClient, rpcs: Rpcs, url: str, why: str
) -> None:
    for method, path in (("POST", "/webhook-endpoints"), ("PATCH", f"/webhook-endpoints/{s.OTHER}")):
        response = await tutor.request(method, path, json={"url": url})
        refusal = response.json()
        assert (response.status_code, refusal["code"], refusal["field"]) == (422, "target_refused", "url")
        assert why in refusal["detail"]
        assert rpcs.count == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com",
        "ftp://hooks.example.com",
        "https://",
        "https:///hook",
        "https://user@hooks.example.com",
        "https://user:canary@hooks.example.com",
        "https://hooks.example.com/#canary",
        "https://hooks.example.com/a b",
        "https://hooks.example.com\\@canary.example",
        "https://[canary]/hook",
        "https://[::1/hook",
        "https://höoks.example.com",
        "https://hooks.example.com/\x00",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/" + "x" * 2000,
        "javascript:alert(1)",
    ],
)
async def test_what_is_no_plain_web_address_is_named_and_not_quoted(
    tutor: httpx.AsyncClient, rpcs: Rpcs, url: str
) -> None:
    response = await tutor.post("/webhook-endpoints", json={"url": url})
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == ["url"]
    assert "canary" not in response.text


# --- /health ------------------------------------------------------------------------------------------


async def test_anyone_may_ask_whether_the_functions_answer(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.get("/health")
    assert (response.status_code, response.json(), rpcs.count) == (200, {"status": "ok"}, 0)


async def test_an_admin_sees_which_clock_the_database_goes_by_and_what_a_model_lacks(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("health", {"clock": {"is_real": False, "now": "2026-03-01T09:00:00+00:00"}})
    answer = (await tutor.get("/health")).json()
    off: dict[str, object] = {"on": False, "missing": []}
    assert answer == {
        "status": "ok",
        "clock": {"is_real": False, "now": "2026-03-01T09:00:00Z"},
        "channels": {"whatsapp": off, "email": off},
        "model": {"provider": "gemini", "on": False, "missing": ["GEMINI_API_KEY"]},
        "calendar": {"on": False, "missing": ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_CALENDAR_ID"]},
    }


async def test_others_who_are_signed_in_see_no_clock(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("health", 403, "not_allowed")
    response = await tutor.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic YTpi", ""])
async def test_a_bad_token_is_refused_even_where_none_is_needed(
    client: httpx.AsyncClient, rpcs: Rpcs, header: str
) -> None:
    response = await client.get("/health", headers={"Authorization": header})
    assert (response.status_code, rpcs.count) == (401, 0)
