-- 6. Sessions
--
-- One lesson. It comes from a match (recurring, charged to a package: `generate_sessions`,
-- `add_extra_session`) or from a booking (single: `accept_booking`, a later chapter), and lives by the table below:
--
--   scheduled → in_progress → done, no_show_student or no_show_tutor, or cancelled;
--   rescheduled means parked: the old time is given up, a new one is not yet set.
--
-- `private.session_transitions` lists every step anybody may take; what is not in it is refused, and the
-- tests walk the same list. Constraints keep what no function may forget: a person is in one live session
-- at a time, a package's dates and numbers are never used twice, a booking's session is never parked.
-- Whoever changes a session, by function or by hand in Studio, the triggers here stamp the row, keep its
-- marks consistent and tell audit and outbox. Credits hang on the same change, in the next chapter.

create type public.session_status_enum as enum (
  'scheduled', 'in_progress', 'done', 'no_show_student', 'no_show_tutor', 'rescheduled', 'cancelled');
comment on type public.session_status_enum is 'Where a session is in its life; "rescheduled" means parked without a time.';

create type public.session_origin as enum ('match', 'booking');

-- Policies of the house ------------------------------------------------------------------------------

create table public.settings (
  only_row boolean primary key default true,
  start_window_mins integer not null default 15,
  delay_grace_mins integer not null default 0,
  tutor_correction_hours integer not null default 24,
  sequence_lock boolean not null default true,
  tutor_may_reschedule boolean not null default false,
  consent_hours integer not null default 48,
  events_kept_days integer not null default 90,
  review_window_days integer not null default 14,
  language public.message_language not null default 'en',
  quiet_from text not null default '21:00',
  quiet_until text not null default '07:00',
  sync_google_calendar boolean not null default false,
  model_calls_a_day integer not null default 500,
  updated_at timestamptz not null default private.now(),
  constraint settings_has_one_row check (only_row),
  constraint settings_start_window_is_sane check (start_window_mins between 0 and 1440),
  constraint settings_delay_grace_is_sane check (delay_grace_mins between 0 and 240),
  constraint settings_correction_window_is_sane check (tutor_correction_hours between 0 and 720),
  constraint settings_consent_hours_are_sane check (consent_hours between 1 and 720),
  constraint settings_events_are_kept check (events_kept_days between 7 and 3650),
  constraint settings_review_window_is_sane check (review_window_days between 1 and 365),
  constraint settings_quiet_hours_are_times check (private.is_clock_time(quiet_from) and private.is_clock_time(quiet_until)),
  constraint settings_model_calls_are_sane check (model_calls_a_day between 0 and 100000)
);
comment on table public.settings is 'The policies of the house, one row. Change them here; every change is audited.';
comment on column public.settings.start_window_mins is 'How many minutes before its start a session may be started.';
comment on column public.settings.delay_grace_mins is 'How many minutes after its start the clock begins a session that nobody has begun.';
comment on column public.settings.tutor_correction_hours is 'For how many hours a tutor may correct what the clock completed.';
comment on column public.settings.sequence_lock is 'Whether a tutor must resolve the sessions of a package in order.';
comment on column public.settings.tutor_may_reschedule is 'Whether a tutor may move a session without asking an admin.';
comment on column public.settings.consent_hours is 'How many hours a guardian has to answer a wish to cancel.';
comment on column public.settings.events_kept_days is 'After how many days events and their finished deliveries are forgotten.';
comment on column public.settings.review_window_days is 'For how many days a student may review a session that is done.';
comment on column public.settings.language is 'The language of messages to readers who have not chosen one.';
comment on column public.settings.quiet_from is 'From when on, on the reader''s own clock, nothing that can wait is sent. Equal to quiet_until: there are no quiet hours.';
comment on column public.settings.quiet_until is 'Until when, on the reader''s own clock, nothing that can wait is sent.';
comment on column public.settings.sync_google_calendar is 'Whether sessions are kept in Google Calendar.';
comment on column public.settings.model_calls_a_day is 'How many calls of a language model the house pays for in a day (UTC); then rules speak.';
comment on constraint settings_start_window_is_sane on public.settings is 'start_window_mins is 0 to 1440.';
comment on constraint settings_delay_grace_is_sane on public.settings is 'delay_grace_mins is 0 to 240.';
comment on constraint settings_correction_window_is_sane on public.settings is 'tutor_correction_hours is 0 to 720.';
comment on constraint settings_consent_hours_are_sane on public.settings is 'consent_hours is 1 to 720.';
comment on constraint settings_events_are_kept on public.settings is 'events_kept_days is 7 to 3650.';
comment on constraint settings_review_window_is_sane on public.settings is 'review_window_days is 1 to 365.';
comment on constraint settings_quiet_hours_are_times on public.settings is 'quiet_from and quiet_until are times such as 21:00.';
comment on constraint settings_model_calls_are_sane on public.settings is 'model_calls_a_day is 0 to 100000.';
insert into public.settings default values;
create trigger settings_touch before update on public.settings for each row execute function private.touch();
create trigger settings_audit after update on public.settings
  for each row execute function private.audit_change('settings');
create trigger settings_stays before delete or truncate on public.settings
  for each statement execute function private.refuse_change('The settings row stays; change its columns.');
alter table public.settings enable row level security;
grant select on public.settings to authenticated, service_role;
create policy "Admins read the settings" on public.settings
  for select to authenticated using ((select private.is_admin()));

create function private.get_settings() returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  return (select to_jsonb(s) - 'only_row' from public.settings s);
end;
$$;

create function public.get_settings() returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_settings();
comment on function public.get_settings() is 'Admins read the policies of the house. Refuses: 401, 403 not_allowed.';
grant execute on function private.get_settings(), public.get_settings() to authenticated;

create function private.update_settings(
  p_start_window_mins integer, p_delay_grace_mins integer, p_tutor_correction_hours integer, p_sequence_lock boolean,
  p_tutor_may_reschedule boolean, p_consent_hours integer, p_events_kept_days integer, p_review_window_days integer,
  p_language public.message_language, p_quiet_from text, p_quiet_until text, p_sync_google_calendar boolean, p_model_calls_a_day integer
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_violated text;
begin
  perform private.require_admin();
  update public.settings
     set start_window_mins = coalesce(p_start_window_mins, start_window_mins),
         delay_grace_mins = coalesce(p_delay_grace_mins, delay_grace_mins),
         tutor_correction_hours = coalesce(p_tutor_correction_hours, tutor_correction_hours),
         sequence_lock = coalesce(p_sequence_lock, sequence_lock),
         tutor_may_reschedule = coalesce(p_tutor_may_reschedule, tutor_may_reschedule),
         consent_hours = coalesce(p_consent_hours, consent_hours),
         events_kept_days = coalesce(p_events_kept_days, events_kept_days),
         review_window_days = coalesce(p_review_window_days, review_window_days),
         language = coalesce(p_language, language),
         quiet_from = coalesce(p_quiet_from, quiet_from),
         quiet_until = coalesce(p_quiet_until, quiet_until),
         sync_google_calendar = coalesce(p_sync_google_calendar, sync_google_calendar),
         model_calls_a_day = coalesce(p_model_calls_a_day, model_calls_a_day);
  return private.get_settings();
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_settings(
  p_start_window_mins integer default null, p_delay_grace_mins integer default null,
  p_tutor_correction_hours integer default null, p_sequence_lock boolean default null,
  p_tutor_may_reschedule boolean default null, p_consent_hours integer default null, p_events_kept_days integer default null,
  p_review_window_days integer default null, p_language public.message_language default null, p_quiet_from text default null,
  p_quiet_until text default null, p_sync_google_calendar boolean default null, p_model_calls_a_day integer default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_settings(
  p_start_window_mins, p_delay_grace_mins, p_tutor_correction_hours, p_sequence_lock, p_tutor_may_reschedule, p_consent_hours,
  p_events_kept_days, p_review_window_days, p_language, p_quiet_from, p_quiet_until, p_sync_google_calendar, p_model_calls_a_day);
comment on function public.update_settings(
  integer, integer, integer, boolean, boolean, integer, integer, integer, public.message_language, text, text, boolean, integer) is
  'Admins change policies of the house; what is left out stays. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.update_settings(
  integer, integer, integer, boolean, boolean, integer, integer, integer, public.message_language, text, text, boolean, integer),
  public.update_settings(
  integer, integer, integer, boolean, boolean, integer, integer, integer, public.message_language, text, text, boolean, integer) to authenticated;

-- Words about a status -------------------------------------------------------------------------------

create function private.is_live(p_status public.session_status_enum) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_status in ('scheduled', 'in_progress');
comment on function private.is_live(public.session_status_enum) is 'Whether a session of that status occupies its time.';

create function private.counts_in_package(p_status public.session_status_enum) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_status not in ('cancelled', 'no_show_tutor');
comment on function private.counts_in_package(public.session_status_enum) is
  'Whether a session of that status is one of the package''s N: used, or still to be used.';

create function private.consumes_credit(p_status public.session_status_enum) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_status in ('done', 'no_show_student');
comment on function private.consumes_credit(public.session_status_enum) is 'Whether a session of that status costs one credit.';

-- Who may take which step ----------------------------------------------------------------------------

create table private.session_transitions (
  origin public.session_origin not null,
  from_status public.session_status_enum not null,
  to_status public.session_status_enum not null,
  actor_role public.actor_role not null,
  at_new_time boolean not null default false,
  is_wish boolean not null default false,
  is_delayed boolean,
  set_by public.actor_role,
  opens text,
  closes text,
  needs_reason boolean not null default false,
  needs_future_start boolean not null default false,
  policy text,
  constraint session_transitions_once unique nulls not distinct (
    origin, from_status, to_status, actor_role, at_new_time, is_wish, is_delayed, set_by),
  constraint session_transitions_opens check (opens in ('start_window', 'start', 'end')),
  constraint session_transitions_closes check (closes in ('start', 'end', 'correction_window')),
  constraint session_transitions_policy check (policy in ('tutor_may_reschedule')),
  constraint session_transitions_lead_elsewhere check (from_status <> to_status or at_new_time)
);
comment on table private.session_transitions is 'Every step a session may take, and on what terms.';
comment on column private.session_transitions.at_new_time is 'The step gives the session another time.';
comment on column private.session_transitions.is_wish is 'The actor may ask an admin for the step, not take it.';
comment on column private.session_transitions.is_delayed is 'The step is for sessions whose is_delayed equals this; empty means either.';
comment on column private.session_transitions.set_by is 'The step needs the present status to have been set by this actor; terms that name one go before terms that name none.';
comment on column private.session_transitions.opens is 'From when on: start_window_mins before the start, the start, or the end.';
comment on column private.session_transitions.closes is 'Until when: the start, the end, or tutor_correction_hours after the present status was set.';
comment on column private.session_transitions.policy is 'The column of public.settings that must be true.';
alter table private.session_transitions enable row level security;

-- The tutor of the session.
insert into private.session_transitions (origin, from_status, to_status, actor_role, set_by, opens, closes) values
  ('match',   'scheduled',   'in_progress',     'tutor', null,    'start_window', 'end'),
  ('booking', 'scheduled',   'in_progress',     'tutor', null,    'start_window', 'end'),
  ('match',   'scheduled',   'done',            'tutor', null,    'start', null),
  ('match',   'in_progress', 'done',            'tutor', null,    'start', null),
  ('booking', 'in_progress', 'done',            'tutor', null,    'start', null),
  ('match',   'scheduled',   'no_show_student', 'tutor', null,    'start', null),
  ('match',   'scheduled',   'no_show_tutor',   'tutor', null,    'start', null),
  ('match',   'in_progress', 'no_show_student', 'tutor', null,    'start', null),
  ('match',   'in_progress', 'no_show_tutor',   'tutor', null,    'start', null),
  ('match',   'done',        'no_show_student', 'tutor', 'clock', 'start', 'correction_window'),
  ('match',   'done',        'no_show_tutor',   'tutor', 'clock', 'start', 'correction_window');

-- The student of the session.
insert into private.session_transitions (origin, from_status, to_status, actor_role, is_delayed, opens, closes) values
  ('match',   'scheduled',   'in_progress', 'student', null, 'start_window', 'end'),
  ('booking', 'scheduled',   'in_progress', 'student', null, 'start_window', 'end'),
  ('match',   'in_progress', 'done',        'student', true, 'start', null);

-- The clock.
insert into private.session_transitions (origin, from_status, to_status, actor_role, is_delayed, opens)
select origin, 'scheduled'::public.session_status_enum, 'in_progress'::public.session_status_enum,
       'clock'::public.actor_role, null::boolean, 'start'
  from unnest(enum_range(null::public.session_origin)) as origin
union all
select origin, 'in_progress', 'done', 'clock', false, 'end'
  from unnest(enum_range(null::public.session_origin)) as origin;

-- A guardian who was asked, and the clock when the guardian kept silent.
insert into private.session_transitions (origin, from_status, to_status, actor_role, closes)
select step.origin::public.session_origin, step.from_status::public.session_status_enum, 'cancelled',
       actor::public.actor_role, step.closes
  from unnest(array['guardian', 'clock']) as actor,
       (values ('match',   'scheduled',   'start'),
               ('match',   'rescheduled', null),
               ('booking', 'scheduled',   'start')) as step (origin, from_status, closes);

-- Admins: the ordinary steps freely, …
insert into private.session_transitions (origin, from_status, to_status, actor_role, is_delayed, needs_reason) values
  ('match',   'scheduled',   'in_progress',     'admin', null, false),
  ('match',   'scheduled',   'done',            'admin', null, false),
  ('match',   'scheduled',   'no_show_student', 'admin', null, false),
  ('match',   'scheduled',   'no_show_tutor',   'admin', null, false),
  ('match',   'scheduled',   'rescheduled',     'admin', null, false),
  ('match',   'in_progress', 'done',            'admin', null, false),
  ('match',   'in_progress', 'no_show_student', 'admin', null, false),
  ('match',   'in_progress', 'no_show_tutor',   'admin', null, false),
  ('match',   'in_progress', 'rescheduled',     'admin', true, false),
  ('match',   'in_progress', 'rescheduled',     'admin', false, true),
  ('booking', 'scheduled',   'in_progress',     'admin', null, false),
  ('booking', 'in_progress', 'done',            'admin', null, false);

insert into private.session_transitions (origin, from_status, to_status, actor_role, set_by) values
  ('match',   'done',        'no_show_student', 'admin', 'clock'),
  ('match',   'done',        'no_show_tutor',   'admin', 'clock');

-- … and any other as a correction, with a reason; a booking's session is never parked.
insert into private.session_transitions (origin, from_status, to_status, actor_role, needs_reason, needs_future_start)
select origin, from_status, to_status, 'admin', true, to_status = 'scheduled'
  from unnest(enum_range(null::public.session_origin)) as origin,
       unnest(enum_range(null::public.session_status_enum)) as from_status,
       unnest(enum_range(null::public.session_status_enum)) as to_status
 where from_status <> to_status
   and not (origin = 'booking' and 'rescheduled' in (from_status, to_status))
   and not exists (select from private.session_transitions t
                    where t.origin = origin.origin and t.from_status = from_status.from_status
                      and t.to_status = to_status.to_status and t.actor_role = 'admin' and t.set_by is null);

-- A new time: for admins (for a lesson that was begun in time with a reason), and for tutors where the house lets them.
insert into private.session_transitions (
  origin, from_status, to_status, actor_role, at_new_time, is_wish, is_delayed, policy, needs_reason) values
  ('match', 'scheduled',   'scheduled', 'admin',   true, false, null,  null, false),
  ('match', 'rescheduled', 'scheduled', 'admin',   true, false, null,  null, false),
  ('match', 'in_progress', 'scheduled', 'admin',   true, false, true,  null, false),
  ('match', 'in_progress', 'scheduled', 'admin',   true, false, false, null, true),
  ('match', 'scheduled',   'scheduled', 'tutor',   true, false, null,  'tutor_may_reschedule', false),
  ('match', 'rescheduled', 'scheduled', 'tutor',   true, false, null,  'tutor_may_reschedule', false),
  ('match', 'in_progress', 'scheduled', 'tutor',   true, false, true,  'tutor_may_reschedule', false);

-- What tutor and student may ask for: another time, and to cancel what has not begun.
insert into private.session_transitions (
  origin, from_status, to_status, actor_role, at_new_time, is_wish, is_delayed, closes)
select wish.origin::public.session_origin, wish.from_status::public.session_status_enum,
       wish.to_status::public.session_status_enum, asker::public.actor_role, wish.to_status = 'scheduled', true,
       wish.is_delayed, wish.closes
  from unnest(array['tutor', 'student']) as asker,
       (values ('match',   'scheduled',   'scheduled', null::boolean, null),
               ('match',   'rescheduled', 'scheduled', null, null),
               ('match',   'in_progress', 'scheduled', true, null),
               ('match',   'scheduled',   'cancelled', null, 'start'),
               ('match',   'rescheduled', 'cancelled', null, null),
               ('booking', 'scheduled',   'cancelled', null, 'start')) as wish (origin, from_status, to_status, is_delayed, closes);

-- The table ------------------------------------------------------------------------------------------

create table public.sessions (
  id uuid primary key default gen_random_uuid(),
  match_id uuid,
  booking_id uuid,
  tutor_user_id uuid not null references public.profiles (id),
  student_user_id uuid not null references public.profiles (id),
  package_id uuid,
  sequence_number integer,
  occurrence_start_utc timestamptz,
  scheduled_start_utc timestamptz not null,
  scheduled_end_utc timestamptz not null,
  status public.session_status_enum not null default 'scheduled',
  status_reason text,
  status_set_by public.actor_role not null default 'studio',
  status_changed_at timestamptz not null default private.now(),
  status_effective_at timestamptz not null default private.now(),
  is_delayed boolean not null default false,
  started_at timestamptz,
  started_by uuid references public.profiles (id),
  meet_link text,
  tutor_notes text,
  version integer not null default 1,
  updated_by_user_id uuid references public.profiles (id),
  updated_by_role public.actor_role not null default 'studio',
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint sessions_have_one_origin check (num_nonnulls(match_id, booking_id) = 1),
  constraint sessions_of_a_match_are_charged check (
    num_nonnulls(match_id, package_id, sequence_number) in (0, 3)
    and (match_id is not null or occurrence_start_utc is null)),
  constraint sessions_of_bookings_are_never_parked check (booking_id is null or status <> 'rescheduled'),
  constraint sessions_one_for_each_booking unique (booking_id),
  constraint sessions_meet_link_is_google_meet check (private.is_meet_link(meet_link)),
  constraint sessions_of_a_match_use_its_meet_link check (match_id is null or meet_link is null),
  constraint sessions_people_are_the_matches foreign key (match_id, tutor_user_id, student_user_id)
    references public.matches (id, tutor_user_id, student_user_id),
  constraint sessions_package_is_the_students foreign key (package_id, student_user_id)
    references public.packages (id, student_user_id),
  constraint sessions_of_two_people check (tutor_user_id <> student_user_id),
  constraint sessions_number_once unique (package_id, sequence_number),
  constraint sessions_occurrence_once unique (package_id, occurrence_start_utc),
  constraint sessions_end_after_start check (
    scheduled_end_utc > scheduled_start_utc and scheduled_end_utc - scheduled_start_utc <= interval '8 hours'),
  constraint sessions_in_this_century check (
    scheduled_start_utc >= timestamptz '2000-01-01 00:00+00' and scheduled_end_utc < timestamptz '2101-01-02 00:00+00'),
  constraint sessions_notes_are_bounded check (char_length(tutor_notes) <= 10000),
  constraint sessions_reason_is_bounded check (char_length(status_reason) <= 1000),
  constraint sessions_delay_has_begun check (not is_delayed or status <> 'scheduled'),
  constraint sessions_tutor_in_one_place exclude using gist (
    tutor_user_id with =, tstzrange(scheduled_start_utc, scheduled_end_utc) with &&)
    where (status in ('scheduled', 'in_progress')),
  constraint sessions_student_in_one_place exclude using gist (
    student_user_id with =, tstzrange(scheduled_start_utc, scheduled_end_utc) with &&)
    where (status in ('scheduled', 'in_progress'))
);
comment on table public.sessions is 'Lessons. Status and time may be edited here; credits, audit and events follow by themselves.';
comment on column public.sessions.booking_id is 'The booking it comes from; empty for the sessions of a match.';
comment on column public.sessions.scheduled_start_utc is 'When it begins. A new time is recorded in session_moves.';
comment on column public.sessions.scheduled_end_utc is 'When it ends; the next session may begin in that very instant.';
comment on column public.sessions.started_at is 'When it was moved to in_progress, by a person or the clock.';
comment on column public.sessions.updated_by_role is 'In which capacity the row was last changed.';
comment on column public.sessions.occurrence_start_utc is
  'The date of the weekly pattern it was generated for; stays when the session moves or is cancelled, so that the date is never generated again. Empty for an extra session.';
comment on column public.sessions.status_reason is 'Why the status last changed, or the time.';
comment on column public.sessions.status_set_by is 'In which capacity the present status was set.';
comment on column public.sessions.status_changed_at is 'When the present status was set.';
comment on column public.sessions.status_effective_at is
  'From when the present status holds: what the clock begins or completes holds from the start or the end of the session, however late it came by.';
comment on column public.sessions.is_delayed is 'The clock moved it to in_progress, or it was reopened after its end; a person must complete it.';
comment on column public.sessions.meet_link is 'Of a booking: the listing''s Meet link when it was accepted. Sessions of a match use the match''s.';
comment on column public.sessions.tutor_notes is 'The tutor''s notes on the lesson; shared with the student.';
comment on column public.sessions.sequence_number is 'Counts the sessions of a package; never used twice.';
comment on column public.sessions.version is 'Grows with every change; send it back as expected_version.';
comment on constraint sessions_tutor_in_one_place on public.sessions is 'A tutor is in one live session at a time (half-open ranges).';
comment on constraint sessions_student_in_one_place on public.sessions is 'A student is in one live session at a time (half-open ranges).';
create index sessions_tutor on public.sessions (tutor_user_id, scheduled_start_utc, id);
create index sessions_student on public.sessions (student_user_id, scheduled_start_utc, id);
create index sessions_start on public.sessions (scheduled_start_utc, id);
create index sessions_match on public.sessions (match_id, tutor_user_id, student_user_id);
create index sessions_package on public.sessions (package_id, student_user_id, scheduled_start_utc, id);
create index sessions_to_start on public.sessions (scheduled_start_utc, id) where status = 'scheduled';
create index sessions_to_complete on public.sessions (scheduled_end_utc, id) where status = 'in_progress' and not is_delayed;
create index sessions_started_by on public.sessions (started_by) where started_by is not null;
create index sessions_updated_by on public.sessions (updated_by_user_id) where updated_by_user_id is not null;

create table public.session_moves (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.sessions (id),
  from_start_utc timestamptz not null,
  from_end_utc timestamptz not null,
  to_start_utc timestamptz not null,
  to_end_utc timestamptz not null,
  reason text,
  moved_by_user_id uuid references public.profiles (id),
  moved_by_role public.actor_role not null,
  created_at timestamptz not null default private.now()
);
comment on table public.session_moves is 'Every time a session was moved: from when to when, by whom and why. Append-only.';
comment on column public.session_moves.from_start_utc is 'When it was to begin before.';
comment on column public.session_moves.from_end_utc is 'When it was to end before.';
comment on column public.session_moves.to_start_utc is 'When it begins since.';
comment on column public.session_moves.to_end_utc is 'When it ends since.';
comment on column public.session_moves.moved_by_role is 'In which capacity it was moved.';
create index session_moves_session on public.session_moves (session_id, id);
create index session_moves_moved_by on public.session_moves (moved_by_user_id) where moved_by_user_id is not null;
create trigger session_moves_append_only before update or delete or truncate on public.session_moves
  for each statement execute function private.refuse_change('The history of moves is append-only.');

-- What every change of a session brings along --------------------------------------------------------

create function private.stamp_session() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if (old.match_id, old.booking_id, old.tutor_user_id, old.student_user_id, old.occurrence_start_utc)
     is distinct from
     (new.match_id, new.booking_id, new.tutor_user_id, new.student_user_id, new.occurrence_start_utc) then
    perform private.refuse(409, 'use_function',
      'A session keeps its origin and people: cancel it and add another with add_extra_session.');
  end if;
  if new.version = old.version
     and (old.package_id, old.sequence_number) is distinct from (new.package_id, new.sequence_number) then
    perform private.refuse(409, 'use_function',
      'A session changes its package and number with move_session_to_package.');
  end if;
  -- A function says who acts and raises the version; an edit by hand leaves both to this trigger.
  if new.version = old.version then
    new.version := old.version + 1;
    new.updated_by_user_id := private.caller_id();
    new.updated_by_role := private.actor_role();
    if new.status_reason is not distinct from old.status_reason
       and (new.status, new.scheduled_start_utc, new.scheduled_end_utc)
           <> (old.status, old.scheduled_start_utc, old.scheduled_end_utc) then
      new.status_reason := null;  -- yesterday's reason is not today's
    end if;
  end if;
  new.updated_at := private.now();
  if (new.scheduled_start_utc, new.scheduled_end_utc) <> (old.scheduled_start_utc, old.scheduled_end_utc) then
    if new.booking_id is not null then
      perform private.refuse(409, 'use_function', 'The session of a booking keeps the booking''s time.');
    end if;
    new.is_delayed := false;
    new.started_at := null;
    new.started_by := null;
    if new.status = old.status
       and (old.status = 'rescheduled' or (old.status = 'in_progress' and new.scheduled_start_utc > new.updated_at)) then
      new.status := 'scheduled';  -- whoever gives a parked or a begun session a time to come, schedules it
    end if;
  end if;
  if new.status <> old.status then
    new.status_set_by := new.updated_by_role;
    new.status_changed_at := new.updated_at;
    new.status_effective_at := case
      when new.updated_by_role <> 'clock' or new.status = 'cancelled' then new.updated_at
      when new.status = 'in_progress' then new.scheduled_start_utc
      else new.scheduled_end_utc end;
    if new.status = 'scheduled' then
      new.is_delayed := false;
      new.started_at := null;
      new.started_by := null;
    elsif new.status = 'in_progress' then
      new.is_delayed := new.updated_by_role = 'clock' or new.updated_at >= new.scheduled_end_utc;
      new.started_at := coalesce(new.started_at, new.status_effective_at);
      new.started_by := coalesce(new.started_by, new.updated_by_user_id);
    end if;
  end if;
  return new;
end;
$$;
comment on function private.stamp_session() is
  'Keeps what a session never changes, and the marks that follow from what did change.';
create trigger sessions_stamp before update on public.sessions
  for each row execute function private.stamp_session();

create trigger sessions_stay before delete or truncate on public.sessions
  for each statement execute function private.refuse_change(
    'Sessions are never deleted: cancel them with tutor_update_session.');

insert into private.event_types (name, description) values
  ('session.started', 'A session has begun: somebody started it, or the clock did because nobody had.'),
  ('session.completed', 'A session took place.'),
  ('session.no_show', 'One side was not there; the status says which.'),
  ('session.parked', 'A session gave up its time and waits for a new one.'),
  ('session.rescheduled', 'A session got another time.'),
  ('session.cancelled', 'A session will not take place.'),
  ('session.reopened', 'An admin took a status back; the session is to take place.'),
  ('session.delayed', 'The clock could not complete a session; a person must look at it.'),
  ('session.added', 'One session more was put on a package.'),
  ('schedule.generated', 'The sessions of a package were planned.');

create function private.session_event_type(p_from public.session_status_enum, p_to public.session_status_enum) returns text
language sql immutable
set search_path = '' set timezone = 'UTC'
return case p_to
  when 'in_progress' then 'session.started'
  when 'done' then 'session.completed'
  when 'no_show_student' then 'session.no_show'
  when 'no_show_tutor' then 'session.no_show'
  when 'rescheduled' then 'session.parked'
  when 'cancelled' then 'session.cancelled'
  else 'session.reopened' end;

create function private.session_payload(p_session public.sessions) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'session_id', p_session.id, 'match_id', p_session.match_id, 'booking_id', p_session.booking_id,
  'package_id', p_session.package_id, 'sequence_number', p_session.sequence_number,
  'tutor_id', p_session.tutor_user_id, 'student_id', p_session.student_user_id,
  'scheduled_start_utc', p_session.scheduled_start_utc, 'scheduled_end_utc', p_session.scheduled_end_utc,
  'status', p_session.status, 'is_delayed', p_session.is_delayed, 'version', p_session.version);
comment on function private.session_payload(public.sessions) is 'What an event says of a session: ids, times and status, no personal data.';

create function private.was_before(p_session public.sessions) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object('previous_status', p_session.status, 'was_delayed', p_session.is_delayed);
comment on function private.was_before(public.sessions) is 'What an event says of the session as it was, so that whoever counts can take it back.';

create function private.record_session_changes() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_change record;
begin
  for v_change in
    select o::public.sessions as before, n::public.sessions as after,
           o.status <> n.status as is_transition,
           (o.scheduled_start_utc, o.scheduled_end_utc) <> (n.scheduled_start_utc, n.scheduled_end_utc) as is_move,
           o.package_id is distinct from n.package_id as is_repackaged,
           o.started_by is null and n.started_by is not null as is_late_start,
           not o.is_delayed and n.is_delayed as is_delay,
           o.tutor_notes is distinct from n.tutor_notes as is_note
      from old_sessions o join new_sessions n using (id)
     order by n.id
  loop
    if v_change.is_move then
      insert into public.session_moves (session_id, from_start_utc, from_end_utc, to_start_utc, to_end_utc, reason, moved_by_user_id, moved_by_role)
      values ((v_change.after).id, (v_change.before).scheduled_start_utc, (v_change.before).scheduled_end_utc,
              (v_change.after).scheduled_start_utc, (v_change.after).scheduled_end_utc,
              (v_change.after).status_reason, (v_change.after).updated_by_user_id, (v_change.after).updated_by_role);
      perform private.record_session_audit('session_rescheduled', v_change.after, jsonb_build_object(
        'from', (v_change.before).scheduled_start_utc, 'to', (v_change.after).scheduled_start_utc,
        'status', jsonb_build_object('from', (v_change.before).status, 'to', (v_change.after).status)));
      perform private.record_event('session.rescheduled', 'session', (v_change.after).id,
        private.session_payload(v_change.after) || private.was_before(v_change.before) || jsonb_build_object(
          'previous_start_utc', (v_change.before).scheduled_start_utc,
          'previous_end_utc', (v_change.before).scheduled_end_utc),
        (v_change.after).updated_at);
    end if;
    -- A parked session that gets a new time was moved; anything else that also changed status did both.
    if v_change.is_transition and not (v_change.is_move and (v_change.after).status = 'scheduled') then
      perform private.record_session_audit('session_status_updated', v_change.after, jsonb_build_object(
        'status', jsonb_build_object('from', (v_change.before).status, 'to', (v_change.after).status)));
      perform private.record_event(
        private.session_event_type((v_change.before).status, (v_change.after).status), 'session', (v_change.after).id,
        private.session_payload(v_change.after) || private.was_before(v_change.before),
        (v_change.after).status_effective_at);
    elsif v_change.is_repackaged then
      perform private.record_session_audit('session_moved_to_package', v_change.after, jsonb_build_object(
        'package_id', jsonb_build_object('from', (v_change.before).package_id, 'to', (v_change.after).package_id)));
    elsif v_change.is_late_start then
      perform private.record_session_audit('session_start_recorded', v_change.after, '{}');
    elsif v_change.is_delay then
      perform private.record_session_audit('session_delayed', v_change.after, '{}');
      perform private.record_event('session.delayed', 'session', (v_change.after).id,
        private.session_payload(v_change.after), case (v_change.after).updated_by_role
          when 'clock' then (v_change.after).scheduled_end_utc else (v_change.after).updated_at end);
    elsif v_change.is_note and not v_change.is_move then
      perform private.record_session_audit('session_notes_updated', v_change.after, '{}');
    end if;
  end loop;
  return null;
end;
$$;

create function private.record_session_audit(p_action text, p_session public.sessions, p_details jsonb) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into public.audit_logs (actor_user_id, actor_role, action, entity_type, entity_id, reason, request_id, details)
  values (p_session.updated_by_user_id, p_session.updated_by_role, p_action, 'session', p_session.id,
          case when p_action <> 'session_notes_updated' then p_session.status_reason end,
          private.request_id(), p_details);
end;
$$;
create trigger sessions_record_changes after update on public.sessions
  referencing old table as old_sessions new table as new_sessions
  for each statement execute function private.record_session_changes();

create function private.record_new_sessions() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_birth record;
begin
  for v_birth in
    select match_id, package_id, occurrence_start_utc is null as is_extra, updated_by_user_id, updated_by_role,
           min(status_reason) as reason, count(*) as sessions,
           jsonb_agg(jsonb_build_object('session_id', id, 'scheduled_start_utc', scheduled_start_utc,
                                        'scheduled_end_utc', scheduled_end_utc) order by scheduled_start_utc) as born
      from new_sessions
     where match_id is not null
     group by 1, 2, 3, 4, 5
  loop
    insert into public.audit_logs (actor_user_id, actor_role, action, entity_type, entity_id, reason, request_id, details)
    values (v_birth.updated_by_user_id, v_birth.updated_by_role,
            case when v_birth.is_extra then 'session_added' else 'schedule_generated' end,
            'match', v_birth.match_id, v_birth.reason, private.request_id(),
            jsonb_build_object('package_id', v_birth.package_id, 'sessions', v_birth.sessions));
    perform private.record_event(
      case when v_birth.is_extra then 'session.added' else 'schedule.generated' end, 'match', v_birth.match_id,
      jsonb_build_object('match_id', v_birth.match_id, 'package_id', v_birth.package_id, 'sessions', v_birth.born),
      private.now());
  end loop;
  for v_birth in select s::public.sessions as session from new_sessions s where s.booking_id is not null order by s.id loop
    perform private.record_event('session.booked', 'session', (v_birth.session).id,
      private.session_payload(v_birth.session), private.now());
  end loop;
  return null;
end;
$$;
create trigger sessions_record_births after insert on public.sessions
  referencing new table as new_sessions
  for each statement execute function private.record_new_sessions();

-- Policies and grants --------------------------------------------------------------------------------

alter table public.sessions enable row level security;
alter table public.session_moves enable row level security;
grant select on public.sessions, public.session_moves to authenticated, service_role;
create policy "Tutors and students read their own sessions, admins all" on public.sessions
  for select to authenticated
  using (tutor_user_id = (select private.caller_id())
         or student_user_id = (select private.caller_id())
         or (select private.is_admin()));
create policy "Who reads a session reads its moves" on public.session_moves
  for select to authenticated
  using (session_id in (select id from public.sessions));

-- Reading --------------------------------------------------------------------------------------------

create function private.live_sessions_near(p_person_id uuid, p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'session_id', s.id, 'scheduled_start_utc', s.scheduled_start_utc, 'scheduled_end_utc', s.scheduled_end_utc,
           'tutor', private.person_card(t), 'student', private.person_card(u)) order by s.scheduled_start_utc, s.id), '[]')
    from public.sessions s
    join public.profiles t on t.id = s.tutor_user_id
    join public.profiles u on u.id = s.student_user_id
   where p_person_id in (s.tutor_user_id, s.student_user_id)
     and s.status in ('scheduled', 'in_progress')
     and tstzrange(s.scheduled_start_utc, s.scheduled_end_utc) && tstzrange(p_from, p_to)
$$;

create function private.session_documents(p_session_ids uuid[], p_caller_id uuid) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  -- Bookings and actions are later chapters, which a function in SQL could not wait for.
  return (select coalesce(jsonb_agg(jsonb_build_object(
      'id', s.id,
      'origin', case when s.match_id is null then 'booking' else 'match' end,
      'match_id', s.match_id, 'booking_id', s.booking_id, 'package_id', s.package_id,
      'sequence_number', s.sequence_number, 'occurrence_start_utc', s.occurrence_start_utc,
      'is_extra', s.match_id is not null and s.occurrence_start_utc is null,
      'status', s.status, 'status_reason', s.status_reason, 'is_delayed', s.is_delayed,
      'started_at', s.started_at, 'started_by', s.started_by,
      'scheduled_start_utc', s.scheduled_start_utc, 'scheduled_end_utc', s.scheduled_end_utc,
      'tutor', private.person_card(t), 'student', private.person_card(u),
      'subject', coalesce(r.subject, l.title), 'level', r.level,
      'meet_link', coalesce(m.meet_link, s.meet_link), 'tutor_notes', s.tutor_notes,
      'package', case when p.id is not null then jsonb_build_object(
        'id', p.id, 'tier_sessions', p.tier_sessions, 'sessions_used', p.sessions_used,
        'sessions_left', p.tier_sessions - p.sessions_used,
        'position', case when private.counts_in_package(s.status) then p.opening_used + (
          select count(*) from public.sessions other
           where other.package_id = s.package_id and private.counts_in_package(other.status)
             and (other.scheduled_start_utc, other.id) <= (s.scheduled_start_utc, s.id)) end) end,
      'actions', private.session_actions(s, p_caller_id, coalesce(m.meet_link, s.meet_link)),
      'version', s.version, 'updated_by_user_id', s.updated_by_user_id,
      'updated_at', s.updated_at, 'created_at', s.created_at)
    order by s.scheduled_start_utc, s.id), '[]')
    from unnest(p_session_ids) as wanted (id)
    join public.sessions s on s.id = wanted.id
    join public.profiles t on t.id = s.tutor_user_id
    join public.profiles u on u.id = s.student_user_id
    left join public.matches m on m.id = s.match_id
    left join public.requests r on r.id = m.request_id
    left join public.packages p on p.id = s.package_id
    left join public.bookings b on b.id = s.booking_id
    left join public.listings l on l.id = b.listing_id);
end;
$$;
comment on function private.session_documents(uuid[], uuid) is
  'Sessions as every answer shows them to that caller, in order of start. "position" is the k of "k of N" among the sessions counted in the package.';

create function private.session_answer(p_session_id uuid, p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'session', private.session_documents(array[p_session_id], p_caller_id) -> 0,
  'viewer_timezone', (select timezone from public.profiles where id = p_caller_id));

create function private.get_session(p_session_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
begin
  perform from public.sessions
    where id = p_session_id
      and (v_caller_id in (tutor_user_id, student_user_id) or private.has_role(v_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  return private.session_answer(p_session_id, v_caller_id) || jsonb_build_object('moves', (
    select coalesce(jsonb_agg(jsonb_build_object(
             'from_start_utc', v.from_start_utc, 'from_end_utc', v.from_end_utc,
             'to_start_utc', v.to_start_utc, 'to_end_utc', v.to_end_utc,
             'reason', v.reason, 'by_role', v.moved_by_role, 'moved_at', v.created_at) order by v.id), '[]')
      from public.session_moves v where v.session_id = p_session_id));
end;
$$;

create function public.get_session(p_session_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_session(p_session_id);
comment on function public.get_session(uuid) is
  'One session of the caller''s (any, for admins), with the times it was moved. Refuses: 401, 403 not_allowed, 404 (also for somebody else''s).';
grant execute on function private.get_session(uuid), public.get_session(uuid) to authenticated;

create function private.list_sessions(
  p_role public.app_role, p_student_id uuid, p_tutor_id uuid, p_match_id uuid, p_status public.session_status_enum[],
  p_origin public.session_origin, p_from timestamptz, p_to timestamptz,
  p_after_start timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_is_admin boolean := private.has_role(v_caller_id, 'admin');
  v_limit integer := coalesce(p_limit, 50);
  v_sides text[];
  v_query text;
  v_ids uuid[];
begin
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  if p_role = 'admin' and not v_is_admin then
    perform private.refuse(403, 'not_allowed', 'Only an admin may do this.');
  end if;
  -- One branch for each side, so that each walks its own index from the start of the page.
  v_sides := case
    when v_is_admin and coalesce(p_role, 'admin') = 'admin' then array['true']
    else array_remove(array[
      case when coalesce(p_role, 'tutor') = 'tutor' then 's.tutor_user_id = $1' end,
      case when coalesce(p_role, 'student') = 'student' then 's.student_user_id = $1' end], null) end;
  select string_agg(format(
    '(select s.id, s.scheduled_start_utc from public.sessions s
       where %s
         and ($2 is null or s.tutor_user_id = $2)
         and ($3 is null or s.student_user_id = $3)
         and ($4 is null or s.match_id = $4)
         and ($5 is null or s.status = any ($5))
         and ($6 is null or ($6 = ''match'') = (s.match_id is not null))
         and s.scheduled_start_utc >= $7 and s.scheduled_start_utc < $8
         and ($9 is null or (s.scheduled_start_utc, s.id) > ($9, $10))
       order by s.scheduled_start_utc, s.id limit $11)', side), ' union ') into v_query
    from unnest(v_sides) as side;
  execute format('select array_agg(id order by scheduled_start_utc, id)
                    from (select * from (%s) as seen order by scheduled_start_utc, id limit $11) as page', v_query)
    into v_ids
    using v_caller_id, p_tutor_id, p_student_id, p_match_id, p_status, p_origin,
          coalesce(p_from, '-infinity'), coalesce(p_to, 'infinity'), p_after_start, p_after_id, v_limit + 1;
  return jsonb_build_object(
    'sessions', private.session_documents(v_ids[1:v_limit], v_caller_id),
    'has_more', coalesce(cardinality(v_ids), 0) > v_limit,
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;

create function public.list_sessions(
  p_role public.app_role default null, p_student_id uuid default null, p_tutor_id uuid default null,
  p_match_id uuid default null, p_status public.session_status_enum[] default null,
  p_origin public.session_origin default null, p_from timestamptz default null, p_to timestamptz default null,
  p_after_start timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_sessions(
  p_role, p_student_id, p_tutor_id, p_match_id, p_status, p_origin, p_from, p_to, p_after_start, p_after_id, p_limit);
comment on function public.list_sessions(
  public.app_role, uuid, uuid, uuid, public.session_status_enum[], public.session_origin, timestamptz, timestamptz, timestamptz, uuid, integer) is
  'The caller''s sessions (all, for admins) that start in [from, to), a page at a time in order of start; p_role narrows to one side. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_sessions(
    public.app_role, uuid, uuid, uuid, public.session_status_enum[], public.session_origin, timestamptz, timestamptz, timestamptz, uuid, integer),
  public.list_sessions(
    public.app_role, uuid, uuid, uuid, public.session_status_enum[], public.session_origin, timestamptz, timestamptz, timestamptz, uuid, integer)
  to authenticated;
