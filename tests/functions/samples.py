"""What the database answers, for the tests of the layers above it."""

from collections.abc import Mapping
from typing import Any

ADMIN = "00000000-0000-4000-8000-00000000000a"
TUTOR = "00000000-0000-4000-8000-0000000000b1"
STUDENT = "00000000-0000-4000-8000-0000000000c1"
MATCH = "00000000-0000-4000-8000-0000000000d1"
REQUEST = "00000000-0000-4000-8000-0000000000d2"
PACKAGE = "00000000-0000-4000-8000-0000000000e1"
SESSION = "00000000-0000-4000-8000-0000000000f1"
WISH = "00000000-0000-4000-8000-0000000000f6"
LISTING = "00000000-0000-4000-8000-0000000000f2"
BOOKING = "00000000-0000-4000-8000-0000000000f3"
DELIVERY = "00000000-0000-4000-8000-0000000000f2"
OTHER = "00000000-0000-4000-8000-0000000000f9"

MEET = "https://meet.google.com/abc-defg-hij"
PATTERN: Mapping[str, Any] = {
    "timezone": "Europe/London",
    "days": [2, 4],
    "time": "16:30",
    "duration_mins": 60,
}

tutor = {"id": TUTOR, "display_name": "Amina Siddiqui", "timezone": "Asia/Karachi"}
student = {"id": STUDENT, "display_name": "Oliver Hughes", "timezone": "Europe/London"}
person: Mapping[str, Any] = {
    **tutor,
    "email": "amina@example.com",
    "phone": "+923001234567",
    "whatsapp_opt_in": True,
    "language": "en",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "google_calendar_id": "amina@calendar.example.com",
    "roles": ["tutor"],
    "is_active": True,
    "has_account": True,
}
guardian: Mapping[str, Any] = {
    "id": OTHER,
    "student_id": STUDENT,
    "name": "Grace Hughes",
    "phone": "+447700900123",
    "email": None,
    "timezone": "Europe/London",
    "whatsapp_opt_in": True,
    "language": None,
    "quiet_from": None,
    "quiet_until": None,
    "is_primary": True,
}
request: Mapping[str, Any] = {
    "id": REQUEST,
    "student": student,
    "subject": "Mathematics",
    "level": "GCSE",
    "status": "open",
    "created_at": "2026-02-01T09:00:00+00:00",
}
match: Mapping[str, Any] = {
    "id": MATCH,
    "request_id": REQUEST,
    "status": "proposed",
    "tutor": tutor,
    "student": student,
    "subject": "Mathematics",
    "level": "GCSE",
    "schedule_pattern": dict(PATTERN),
    "meet_link": MEET,
    "created_at": "2026-02-01T09:00:00+00:00",
    "updated_at": "2026-02-01T09:00:00+00:00",
}
package: Mapping[str, Any] = {
    "id": PACKAGE,
    "request_id": REQUEST,
    "student_id": STUDENT,
    "tier_sessions": 8,
    "opening_used": 0,
    "sessions_used": 3,
    "sessions_left": 5,
    "start_date": "2026-03-01",
    "end_date": "2026-04-30",
    "status": "active",
    "standing": "active",
}
holiday: Mapping[str, Any] = {"id": OTHER, "on_date": "2026-03-20", "name": "Eid al-Fitr"}
time_off: Mapping[str, Any] = {
    "time_off": {
        "id": OTHER,
        "person": tutor,
        "starts_on": "2026-03-10",
        "ends_on": "2026-03-10",
        "starts_at": None,
        "ends_at": None,
        "note": None,
    },
    "live_sessions": [
        {
            "session_id": SESSION,
            "scheduled_start_utc": f"2026-03-{start}+00:00",
            "scheduled_end_utc": f"2026-03-{end}+00:00",
            "tutor": tutor,
            "student": student,
        }
        # The tenth in Karachi is 09T19:00Z to 10T19:00Z.
        for start, end in [
            ("09T18:00:00", "09T19:00:00"),
            ("09T18:30:00", "09T19:30:00"),
            ("10T18:59:00", "10T19:59:00"),
            ("10T19:00:00", "10T20:00:00"),
        ]
    ],
}
actions: Mapping[str, Any] = {
    "prep": {"allowed": True, "operation": "prepare_session", "needs_reason": False},
    "join": {
        "allowed": False,
        "operation": None,
        "needs_reason": False,
        "code": "too_early",
        "detail": "It is too early for this.",
        "opens_at": "2026-03-31T15:15:00+00:00",
        "policy": "start_window_mins",
    },
    "start": {
        "allowed": False,
        "operation": "start_session",
        "needs_reason": False,
        "code": "reason_required",
        "detail": "Say why.",
        "field": "reason",
    },
    "complete": {
        "allowed": False,
        "operation": "complete_session",
        "needs_reason": False,
        "code": "out_of_order",
        "detail": "Earlier sessions of the package are still open.",
        "policy": "sequence_lock",
        "blockers": [
            {"session_id": OTHER, "sequence_number": 3, "scheduled_start_utc": "2026-03-26T16:30:00+00:00"},
        ],
    },
    "missed": {
        "allowed": False,
        "operation": "mark_missed",
        "needs_reason": False,
        "code": "illegal_transition",
        "detail": "A session that is done cannot become no_show_student this way.",
        "from": "done",
        "to": "no_show_student",
    },
    "reschedule": {"allowed": True, "operation": "request_reschedule", "needs_reason": True},
    "cancel": {"allowed": True, "operation": "request_cancellation", "needs_reason": True},
}
session: Mapping[str, Any] = {
    "id": SESSION,
    "origin": "match",
    "match_id": MATCH,
    "booking_id": None,
    "package_id": PACKAGE,
    "sequence_number": 4,
    "occurrence_start_utc": "2026-03-31T15:30:00+00:00",
    "is_extra": False,
    "status": "scheduled",
    "status_reason": None,
    "is_delayed": False,
    "started_at": None,
    "started_by": None,
    "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
    "scheduled_end_utc": "2026-03-31T16:30:00+00:00",
    "tutor": tutor,
    "student": student,
    "subject": "Mathematics",
    "level": "GCSE",
    "meet_link": MEET,
    "tutor_notes": None,
    "package": {"id": PACKAGE, "tier_sessions": 8, "sessions_used": 3, "sessions_left": 5, "position": 4},
    "actions": actions,
    "version": 1,
    "updated_by_user_id": None,
    "updated_at": "2026-02-01T09:00:00+00:00",
    "created_at": "2026-02-01T09:00:00+00:00",
}
move: Mapping[str, Any] = {
    "from_start_utc": "2026-03-30T15:30:00+00:00",
    "from_end_utc": "2026-03-30T16:30:00+00:00",
    "to_start_utc": "2026-03-31T15:30:00+00:00",
    "to_end_utc": "2026-03-31T16:30:00+00:00",
    "reason": "School trip",
    "by_role": "studio",
    "moved_at": "2026-03-01T09:00:00+00:00",
}
wish: Mapping[str, Any] = {
    "id": WISH,
    "status": "pending",
    "reason": "School trip",
    "requested_by": student,
    "requested_by_role": "student",
    "asks_guardian": True,
    "asked_at": None,
    "expires_at": None,
    "unasked_reason": None,
    "answered_by_guardian": False,
    "history": [{"step": "requested", "by_role": "student", "at": "2026-03-02T09:00:00.25+00:00"}],
    "decided_at": None,
    "decision_reason": None,
    "session": session,
    "created_at": "2026-03-02T09:00:00.25+00:00",
}
reschedule_request: Mapping[str, Any] = {
    **wish,
    "proposals": [{"start_utc": "2026-04-01T15:30:00+00:00", "is_free": True}],
    "accepted_start_utc": None,
}
schedule_inputs: Mapping[str, Any] = {
    "match_id": MATCH,
    "package_id": PACKAGE,
    "request_id": REQUEST,
    "pattern": dict(PATTERN),
    "meet_link": MEET,
    "tutor": tutor,
    "student": student,
    "window": {"start_date": "2026-03-24", "end_date": "2026-04-30"},
    "tier_sessions": 8,
    "opening_used": 6,
    "counted": 0,
    "needed": 2,
    "existing": 0,
    "taken": [],
    "holidays": [{"date": "2026-03-24", "name": "Founders' Day"}],
    "time_off": [],
    "busy": [],
    "now": "2026-03-01T00:00:00+00:00",
    "fingerprint": "f1",
}
series_inputs: Mapping[str, Any] = {
    **schedule_inputs,
    "window": {"start_date": "2026-03-23", "end_date": "2027-04-27", "from_date": None},
    "package_end_date": "2026-04-02",
    "moving": [
        {
            "session_id": SESSION,
            "sequence_number": 4,
            "status": "scheduled",
            "version": 1,
            "scheduled_start_utc": "2026-03-24T16:30:00+00:00",
            "scheduled_end_utc": "2026-03-24T17:30:00+00:00",
        },
        {
            "session_id": OTHER,
            "sequence_number": 5,
            "status": "rescheduled",
            "version": 2,
            "scheduled_start_utc": "2026-03-26T16:30:00+00:00",
            "scheduled_end_utc": "2026-03-26T17:15:00+00:00",
        },
    ],
}
listing: Mapping[str, Any] = {
    "id": LISTING,
    "tutor": tutor,
    "title": "Exam clinic",
    "description": None,
    "subject": "Mathematics",
    "duration_mins": 60,
    "meet_link": MEET,
    "is_active": True,
    "created_at": "2026-02-01T09:00:00.25+00:00",
    "updated_at": "2026-02-01T09:00:00.25+00:00",
}
availability: Mapping[str, Any] = {
    "tutor": tutor,
    "timezone": "Europe/London",
    "hours": [{"weekday": 1, "starts_at": "22:00", "ends_at": "24:00"}],
}
slot_inputs: Mapping[str, Any] = {
    **availability,
    "listing_id": LISTING,
    "duration_mins": 60,
    "holidays": [{"date": "2026-03-23", "name": "Founders' Day"}],
    "time_off": [
        {
            "id": OTHER,
            "of": "tutor",
            "starts_on": None,
            "ends_on": None,
            "starts_at": "2026-04-06T00:00:00+00:00",
            "ends_at": "2026-04-07T00:00:00+00:00",
        }
    ],
    # London's clocks change on the 29th.
    "busy": [{"start": "2026-03-30T21:30:00+00:00", "end": "2026-03-30T22:30:00+00:00", "of": "student"}],
    "window": {"from": "2026-03-16T00:00:00+00:00", "to": "2026-04-16T00:00:00+00:00"},
    "now": "2026-03-01T00:00:00+00:00",
    "fingerprint": "f2",
    "calendar_as_of": "2026-03-01T00:00:00+00:00",
    "viewer_timezone": "Asia/Karachi",
}
booking: Mapping[str, Any] = {
    "id": BOOKING,
    "status": "draft",
    "listing": {"id": LISTING, "title": "Exam clinic", "subject": "Mathematics"},
    "tutor": tutor,
    "student": student,
    "starts_at": "2026-03-30T22:00:00+00:00",
    "ends_at": "2026-03-30T23:00:00+00:00",
    "note": "Fractions",
    "reason": None,
    "decided_by_user_id": None,
    "decided_by_role": None,
    "decided_at": None,
    "session_id": None,
    "version": 1,
    "created_at": "2026-03-01T09:00:00+00:00",
    "updated_at": "2026-03-01T09:00:00+00:00",
}
booking_session: Mapping[str, Any] = {
    **session,
    "origin": "booking",
    "match_id": None,
    "booking_id": BOOKING,
    "package_id": None,
    "sequence_number": None,
    "occurrence_start_utc": None,
    "level": None,
    "subject": "Exam clinic",
    "package": None,
    "scheduled_start_utc": booking["starts_at"],
    "scheduled_end_utc": booking["ends_at"],
}
house_settings: Mapping[str, Any] = {
    "start_window_mins": 15,
    "delay_grace_mins": 0,
    "tutor_correction_hours": 24,
    "sequence_lock": True,
    "tutor_may_reschedule": False,
    "consent_hours": 48,
    "events_kept_days": 90,
    "review_window_days": 14,
    "language": "en",
    "quiet_from": "21:00",
    "quiet_until": "07:00",
    "sync_google_calendar": False,
    "model_calls_a_day": 500,
    "updated_at": "2026-02-01T09:00:00+00:00",
}
clock_step: Mapping[str, Any] = {
    "session_id": SESSION,
    "from": "scheduled",
    "to": "in_progress",
    "is_delayed": True,
}
refreshed: Mapping[str, Any] = {"started": 1, "completed": 0, "failed": 0, "more": False, "updates": [clock_step]}
figures: Mapping[str, Any] = {
    "sessions": 10,
    "done": 6,
    "no_show_student": 1,
    "no_show_tutor": 1,
    "cancelled": 1,
    "open": 1,
    "parked": 0,
    "delayed": 2,
    "moved": 0,
    "completion_rate": 0.75,
    "no_show_student_rate": 0.125,
    "no_show_tutor_rate": None,
}
metrics: Mapping[str, Any] = {
    "from": "2026-03-01T00:00:00+00:00",
    "to": "2026-04-01T00:00:00+00:00",
    "total": figures,
    "by_tutor": [{"tutor": tutor, **figures}],
    "hours": {"offered": 15.0, "booked": 9.5, "by_tutor": [{"tutor": tutor, "offered": 15.0, "booked": 9.5}]},
}
daily: Mapping[str, Any] = {
    "from": "2026-03-01",
    "to": "2026-03-31",
    "days": [
        {
            "on_date": "2026-03-10",
            "done": 3,
            "no_show_student": 1,
            "no_show_tutor": 0,
            "cancelled": 0,
            "delayed": 1,
            "hours_done": 2.75,
        }
    ],
}
review: Mapping[str, Any] = {
    "session_id": SESSION,
    "rating": 5,
    "comment": "I understand fractions now.",
    "student_user_id": STUDENT,
    "tutor_user_id": TUTOR,
    "created_at": "2026-04-01T09:00:00+00:00",
}
renewal: Mapping[str, Any] = {
    "proposal": {
        "request_id": REQUEST,
        "match_id": MATCH,
        "tier_sessions": 8,
        "start_date": "2026-05-01",
        "end_date": "2026-06-30",
        "schedule_pattern": dict(PATTERN),
        "meet_link": MEET,
    },
    "renewed_by": None,
    "package": None,
}
entry: Mapping[str, Any] = {
    "at": "2026-03-31T16:32:10+00:00",
    "session_id": SESSION,
    "entry_no": 1,
    "amount": 1,
    "sessions_left": 7,
    "sequence_number": 4,
    "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
    "status": "done",
    "tutor": "Amina Siddiqui",
    "by_role": "tutor",
    "by_name": "Amina Siddiqui",
    "reason": None,
}
statement: Mapping[str, Any] = {
    "package": package,
    "student": student,
    "subject": "Mathematics",
    "level": "GCSE",
    "entries": [entry],
    "viewer_timezone": "Europe/London",
}
imported: Mapping[str, Any] = {
    "imported": False,
    "dry_run": True,
    "created": {"people": 0, "matches": 0, "packages": 0},
    "known": {"people": 0, "matches": 0, "packages": 0},
    "errors": [],
}
endpoint: Mapping[str, Any] = {
    "id": OTHER,
    "url": "https://93.184.216.34/hook",
    "description": "The bookkeeping",
    "event_types": ["session.completed"],
    "is_enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": "2026-02-01T09:00:00+00:00",
    "updated_at": "2026-02-01T09:00:00+00:00",
}
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
event_type: Mapping[str, Any] = {
    "name": "session.completed",
    "schema_version": 1,
    "description": "A session took place.",
}
event: Mapping[str, Any] = {
    "id": "evt_42",
    "type": "session.completed",
    "schema_version": 1,
    "aggregate": {"type": "session", "id": SESSION, "sequence": 3},
    "occurred_at": "2026-03-31T16:32:10+00:00",
    "data": {"session_id": SESSION},
}
calendar_sync: Mapping[str, Any] = {
    "session_id": SESSION,
    "event_id": "lesson000000000000400080000000000000f1",
    "status": "failing",
    "subject": "Mathematics",
    "tutor": tutor,
    "student": student,
    "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
    "scheduled_end_utc": "2026-03-31T16:30:00+00:00",
    "session_status": "scheduled",
    "attempts": 2,
    "next_attempt_at": "2026-03-01T09:05:00+00:00",
    "last_error": "Google answered 503.",
    "synced_at": None,
}
busy_read: Mapping[str, Any] = {
    "tutor": tutor,
    "as_of": "2026-03-01T09:00:00+00:00",
    "read_until": "2026-05-02T09:00:00+00:00",
    "error": None,
}
delivery: Mapping[str, Any] = {
    "id": DELIVERY,
    "endpoint_id": OTHER,
    "event_id": "evt_42",
    "event_type": "session.completed",
    "status": "dead",
    "attempts": 8,
    "next_attempt_at": None,
    "last_status_code": 500,
    "last_error": "The endpoint answered 500.",
    "delivered_at": None,
    "created_at": "2026-03-31T16:32:10+00:00",
}
attempt: Mapping[str, Any] = {
    "attempt": 1,
    "attempted_at": "2026-03-31T16:32:12+00:00",
    "duration_ms": 27,
    "outcome": "failed",
    "status_code": 500,
    "error": "The endpoint answered 500.",
}
message: Mapping[str, Any] = {
    "id": OTHER,
    "template": "session_reminder",
    "kind": "1h",
    "reader": {"kind": "guardian", "id": OTHER, "name": "Grace Hughes"},
    "session_id": SESSION,
    "booking_id": None,
    "cancellation_request_id": None,
    "about_start": "2026-03-31T15:30:00+00:00",
    "status": "failed",
    "channel": "whatsapp",
    "provider": "meta",
    "attempts": 6,
    "send_after": None,
    "expires_at": "2026-03-31T15:30:00+00:00",
    "last_error": "The provider answered 500.",
    "sent_at": None,
    "delivered_at": None,
    "created_at": "2026-03-31T14:30:00+00:00",
}
kept_message: Mapping[str, Any] = {
    "id": WISH,
    "message_id": OTHER,
    "template": "session_reminder",
    "channel": "email",
    "sent_to": "grace@example.com",
    "subject": "Reminder: Mathematics with Amina Siddiqui for Oliver Hughes",
    "body": "Hello Grace Hughes,",
    "buttons": [{"id": "approve:x", "title": "Cancel the lesson"}],
    "attachment_name": None,
    "attachment": None,
    "created_at": "2026-03-31T14:30:00+00:00",
}
feed_token = "o4-Jb_Q0" + "x" * 35
feed: Mapping[str, Any] = {
    "display_name": "Oliver Hughes",
    "timezone": "Europe/London",
    "from": "2025-12-01T00:00:00+00:00",
    "to": "2027-04-05T00:00:00+00:00",
    "sessions": [
        {
            "id": SESSION,
            "version": 3,
            "status": "scheduled",
            "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
            "scheduled_end_utc": "2026-03-31T16:30:00+00:00",
            "subject": "Mathematics",
            "other_name": "Amina Siddiqui",
            "meet_link": MEET,
            "updated_at": "2026-02-01T09:00:00.25+00:00",
        }
    ],
}
EVENT = "00000000-0000-4000-8000-0000000000e7"
HOMEWORK = "00000000-0000-4000-8000-0000000000e8"
learning_event: Mapping[str, Any] = {
    "id": EVENT,
    "event_type": "assessment",
    "student_id": STUDENT,
    "tutor_id": TUTOR,
    "session_id": None,
    "author_id": TUTOR,
    "is_private": False,
    "occurred_at": "2026-03-24T16:30:00+00:00",
    "event_data": {"subject": "Mathematics", "topic": "Fractions", "score": 9, "max_score": 20, "percent": 45},
    "content": "Assessment in Mathematics (Fractions): 9 of 20 (45 %).",
}
homework: Mapping[str, Any] = {
    "id": HOMEWORK,
    "student_id": STUDENT,
    "tutor_id": TUTOR,
    "session_id": SESSION,
    "author_id": TUTOR,
    "title": "Fractions, page 12",
    "description": None,
    "due_at": "2026-03-30T16:30:00+00:00",
    "status": "assigned",
    "submitted_at": None,
    "submission": None,
    "was_late": False,
    "is_overdue": True,
    "reviewed_at": None,
    "mark": None,
    "feedback": None,
    "version": 1,
    "created_at": "2026-03-24T16:30:00+00:00",
    "updated_at": "2026-03-24T16:30:00+00:00",
}
brief: Mapping[str, Any] = {
    "session_id": SESSION,
    "source": "rules",
    "model": None,
    "challenges": [{"text": "Fractions: 9 of 20 (45 %) on 24 March.", "event_ids": [EVENT]}],
    "motivators": [],
    "recommended_activities": [],
    "session_focus": [],
    "based_on": "2026-03-24T16:30:00+00:00",
    "made_at": "2026-03-31T09:00:00+00:00",
}
brief_inputs: Mapping[str, Any] = {
    "session": session,
    "student": student,
    "events": [learning_event],
    "brief": None,
    "is_fresh": False,
    "fingerprint": "0a" * 32,
    "model_allowed": True,
    "language": "en",
    "viewer_timezone": "Asia/Karachi",
}
summary: Mapping[str, Any] = {
    "session_id": SESSION,
    "student_id": STUDENT,
    "tutor_id": TUTOR,
    "text": "We worked on fractions.",
    "source": "rules",
    "model": None,
    "status": "draft",
    "approved_at": None,
    "version": 1,
    "created_at": "2026-03-31T17:00:00+00:00",
    "updated_at": "2026-03-31T17:00:00+00:00",
}
summary_inputs: Mapping[str, Any] = {
    "session": {**session, "status": "done", "tutor_notes": "Halves and thirds."},
    "student": student,
    "events": [learning_event],
    "summary": None,
    "language": "en",
    "model_allowed": True,
    "viewer_timezone": "Asia/Karachi",
}
progress: Mapping[str, Any] = {
    "student": student,
    "tutor": None,
    "from": "2025-04-01",
    "to": "2026-03-31",
    "as_of": "2026-03-31T09:00:00+00:00",
    "assessments": [
        {
            "subject": "Algebra",
            "latest": 70.0,
            "average": 55.0,
            "trend": {
                "n": 4,
                "enough": True,
                "verdict": "rising",
                "slope": 10.0,
                "standard_error": 0.0,
                "low": 10.0,
                "high": 10.0,
                "line": [
                    {"at": "2026-01-01T09:00:00+00:00", "percent": 40.0, "low": 40.0, "high": 40.0},
                    {"at": "2026-03-31T09:00:00+00:00", "percent": 70.0, "low": 70.0, "high": 70.0},
                ],
            },
            "marks": [
                {
                    "taken_at": f"2026-{day}T09:00:00+00:00",
                    "topic": "Fractions" if score > 10 else None,
                    "score": score,
                    "max_score": 20.0,
                    "percent": score * 5,
                }
                for day, score in (("01-01", 8.0), ("01-31", 10.0), ("03-01", 12.0), ("03-31", 14.0))
            ],
        }
    ],
    "lessons": {
        "done": 23,
        "no_show_student": 1,
        "no_show_tutor": 1,
        "cancelled": 2,
        "hours_done": 23.5,
        "completion_rate": 0.92,
    },
    "streak": {"current": 9, "since": "2026-02-01T16:30:00+00:00", "longest": 14},
    "homework": {
        "assigned": 18,
        "submitted": 14,
        "late": 3,
        "reviewed": 12,
        "overdue": 2,
        "open": 2,
        "completion_rate": 0.875,
    },
    "packages": [
        {
            "id": PACKAGE,
            "subject": "Mathematics",
            "tier_sessions": 8,
            "sessions_used": 3,
            "sessions_left": 5,
            "start_date": "2026-03-01",
            "end_date": "2026-04-30",
            "standing": "active",
            "pace_per_week": 1.5,
            "expected_end": "2026-04-28",
            "expected_by": "pace",
        }
    ],
    "sessions_left": 5,
    "viewer_timezone": "Europe/London",
    "language": "en",
}
progress_link: Mapping[str, Any] = {
    "id": OTHER,
    "guardian_id": OTHER,
    "created_by": tutor,
    "created_at": "2026-03-01T09:00:00+00:00",
    "expires_at": "2026-05-30T09:00:00+00:00",
    "revoked_at": None,
    "standing": "open",
}

consent_token = "T0-ken_5" + "y" * 35
consent: Mapping[str, Any] = {
    "status": "pending",
    "answer_open": True,
    "answers": ["approve", "reschedule", "call", "keep"],
    "guardian_name": "Grace Hughes",
    "language": "en",
    "timezone": "Europe/London",
    "student_name": "Oliver Hughes",
    "student_timezone": "Europe/London",
    "tutor_name": "Amina Siddiqui",
    "tutor_timezone": "Asia/Karachi",
    "subject": "Mathematics",
    "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
    "scheduled_end_utc": "2026-03-31T16:30:00+00:00",
    "session_status": "scheduled",
    "reason": "Down with the flu",
    "asked_by": "tutor",
    "expires_at": "2026-03-30T09:00:00+00:00",
    "silence_cancels": True,
    "decided": None,
}
consent_given: Mapping[str, Any] = {
    **consent,
    "status": "approved",
    "answer_open": False,
    "answers": [],
    "session_status": "cancelled",
    "expires_at": None,
    "silence_cancels": False,
    "decided": {"status": "approved", "at": "2026-03-29T09:00:00+00:00"},
    "outcome": "decided",
}
