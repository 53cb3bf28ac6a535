-- 22. Messages
--
-- What people are told. One row of `messages` is one thing said to one reader: it has its own channel, language,
-- retries and end, so it is no delivery of the outbox. Who is told of which event stands in `private.notices`; a
-- reaction writes the rows in the event's own transaction, `plan_reminders` those that remind of a lesson.
--
--   pending → sent → delivered        a provider took it; it says that it arrived
--           → failed, unreachable     refused, or tried often enough; nobody to send it to
--           → unknown                 the dispatcher did not come back, or cannot tell: never sent a second time
--           → dropped                 too late, or no longer true when its turn came
--
-- A dispatcher leases what is due (`claim_messages`), sends it and reports (`settle_messages`). A webhook that goes
-- out twice does no harm; a person who is told twice does not trust the house. So a lease that runs out is not given
-- to another: what became of the message is unknown, and an admin decides (`retry_message`). What the provider says
-- afterwards comes through `note_message_statuses`. Words, channels and quiet hours are Python's; here is
-- what is said to whom, and until when it is worth saying.
--
-- A guardian is asked to agree to a cancellation with a template of its own, whose consequences are the next chapter's:
-- `new_consent_token`, `start_consent_timer`, `note_consent_unasked`. Sessions and their requests (`hold_consents`) are
-- locked before messages, and whoever drops messages passes over those that are locked.

create type public.message_status as enum ('pending', 'sent', 'delivered', 'failed', 'unknown', 'dropped', 'unreachable');
comment on type public.message_status is
  'Where a message is: still to be sent, taken by the provider, arrived, given up, of unknown fate, not needed any more, or without an address.';

create type public.message_outcome as enum ('sent', 'failed', 'refused', 'unknown', 'deferred', 'unreachable');
comment on type public.message_outcome is
  'How an attempt ended: taken; not this time; never; nobody can tell; not at this hour; the reader has no address.';

create type public.message_reader as enum ('tutor', 'student', 'guardian', 'admin');
comment on type public.message_reader is 'In which capacity somebody is told.';

-- What there is to say -------------------------------------------------------------------------------

create table private.templates (
  name text primary key,
  channels text[] not null,
  can_wait boolean not null,
  urgent_within interval,
  worth_for interval,
  description text not null,
  constraint templates_channels_are_known check (cardinality(channels) > 0 and channels <@ array['whatsapp', 'email'])
);
comment on table private.templates is 'Everything that the house says to people; the words are in lib/wording.';
comment on column private.templates.channels is 'Where it may be said, best first.';
comment on column private.templates.can_wait is 'Whether it waits for the end of the reader''s quiet hours.';
comment on column private.templates.urgent_within is 'So near the lesson it speaks of it waits for nothing.';
comment on column private.templates.worth_for is 'How long it is worth saying; empty: as long as it is true.';
alter table private.templates enable row level security;
insert into private.templates (name, channels, can_wait, urgent_within, worth_for, description) values
  ('P21_session_summary',      '{whatsapp,email}', true,  null,       '7 days', 'What was learned in a lesson.'),
  ('P23_session_noshow',       '{whatsapp,email}', false, null,       '1 day',  'The student was not there; the tutor asks to have the guardian told.'),
  ('P26_cancellation_request', '{whatsapp}',       true,  '12 hours', null,     'Asks the guardian to agree to a cancellation.'),
  ('consent_reply',            '{whatsapp,email}', false, null,       '1 day',  'Answers a guardian whose answer came too late.'),
  ('session_started',          '{whatsapp,email}', true,  null,       '1 day',  'A lesson has begun.'),
  ('session_completed',        '{whatsapp,email}', true,  null,       '2 days', 'A lesson was held.'),
  ('session_moved',            '{email,whatsapp}', true,  '12 hours', '3 days', 'A lesson has another time.'),
  ('session_parked',           '{whatsapp,email}', true,  '12 hours', '3 days', 'A lesson has lost its time; a new one will follow.'),
  ('session_cancelled',        '{email,whatsapp}', true,  '12 hours', '3 days', 'A lesson will not take place.'),
  ('session_reopened',         '{email,whatsapp}', true,  '12 hours', '3 days', 'A lesson will take place after all.'),
  ('schedule_generated',       '{email,whatsapp}', true,  null,       '7 days', 'Lessons were planned.'),
  ('booking_requested',        '{whatsapp,email}', true,  '12 hours', '3 days', 'A student asks for a single lesson.'),
  ('booking_accepted',         '{email,whatsapp}', true,  '12 hours', '3 days', 'A single lesson was agreed.'),
  ('booking_declined',         '{whatsapp,email}', true,  '12 hours', '3 days', 'A single lesson was declined.'),
  ('booking_cancelled',        '{whatsapp,email}', true,  '12 hours', '3 days', 'The request for a single lesson was taken back.'),
  ('cancellation_decided',     '{whatsapp,email}', true,  '12 hours', '3 days', 'Tells who asked to cancel what was decided.'),
  ('cancellation_to_decide',   '{email,whatsapp}', true,  '12 hours', '7 days', 'An admin must decide about a cancellation.'),
  ('reschedule_requested',     '{email,whatsapp}', true,  '12 hours', '7 days', 'An admin must decide about another time.'),
  ('reschedule_decided',       '{whatsapp,email}', true,  '12 hours', '3 days', 'Tells who asked for another time what was decided.'),
  ('session_disputed',         '{email,whatsapp}', true,  null,       '7 days', 'An admin must look at a lesson that its student disputes.'),
  ('session_reminder',         '{whatsapp,email}', true,  '1 hour',   null,     'A lesson is near: in a day, or in an hour.');

create table private.notices (
  event_type text not null references private.event_types (name),
  reader text not null,
  template text not null references private.templates (name),
  primary key (event_type, reader, template),
  constraint notices_readers_are_known check (reader in ('tutor', 'student', 'guardian', 'admins', 'asker'))
);
comment on table private.notices is
  'Who is told of which event, and in which words. Nobody is told of what they did themselves; a guardian is the primary one.';
create index notices_template on private.notices (template);
alter table private.notices enable row level security;

create function private.follow_notices() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into private.reactions as r (name, event_types, function_name)
  select 'notices', coalesce(array_agg(distinct event_type order by event_type), '{}'), 'tell_of_event' from private.notices
  on conflict (name) do update set event_types = excluded.event_types;
  return null;
end;
$$;
comment on function private.follow_notices() is 'Keeps the reaction that writes messages to the events that somebody is told of.';

-- The messages ---------------------------------------------------------------------------------------

create table public.messages (
  id uuid primary key default gen_random_uuid(),
  template text not null references private.templates (name),
  reader public.message_reader not null,
  reader_profile_id uuid references public.profiles (id),
  reader_guardian_id uuid references public.guardians (id) on delete cascade,
  reader_id uuid not null generated always as (coalesce(reader_profile_id, reader_guardian_id)) stored,
  session_id uuid references public.sessions (id),
  booking_id uuid references public.bookings (id),
  cancellation_request_id uuid references public.cancellation_requests (id),
  event_id bigint,
  kind text,
  about_start timestamptz,
  facts jsonb not null default '{}',
  status public.message_status not null default 'pending',
  channel text,
  provider text,
  provider_message_id text,
  provider_reply_id text,
  send_after timestamptz not null default private.now(),
  expires_at timestamptz,
  attempts integer not null default 0,
  lease_id uuid,
  leased_until timestamptz,
  last_error text,
  sent_at timestamptz,
  delivered_at timestamptz,
  created_at timestamptz not null default private.now(),
  constraint messages_have_one_reader check (num_nonnulls(reader_profile_id, reader_guardian_id) = 1),
  constraint messages_once_for_an_event unique (event_id, template, reader_id),
  constraint messages_kinds_are_known check (kind in ('24h', '1h')),
  constraint messages_reminders_are_of_a_start check (kind is null or num_nonnulls(session_id, about_start) = 2),
  constraint messages_channels_are_known check (channel in ('whatsapp', 'email')),
  constraint messages_leased_while_pending check (leased_until is null or (status = 'pending' and lease_id is not null))
);
comment on table public.messages is 'One thing said to one reader, from being written down to being sent, given up or dropped.';
comment on column public.messages.template is 'What is said; the words are in lib/wording.';
comment on column public.messages.reader is 'In which capacity they are told.';
comment on column public.messages.reader_profile_id is 'Who is told, when it is somebody of the house.';
comment on column public.messages.reader_guardian_id is 'Who is told, when it is a guardian.';
comment on column public.messages.reader_id is 'Whichever of the two it is.';
comment on column public.messages.event_id is 'The event it was written for, which may be forgotten by now; empty for a reminder.';
comment on column public.messages.kind is 'Of a reminder: how long before the start, 24h or 1h.';
comment on column public.messages.about_start is 'The start it speaks of; a reminder of another start is another message.';
comment on column public.messages.facts is 'What the words need besides the session, such as the old time or the reason.';
comment on column public.messages.channel is 'How it was sent: whatsapp or email.';
comment on column public.messages.provider is 'Who carried it.';
comment on column public.messages.provider_message_id is 'Its name with the provider; reports refer to it.';
comment on column public.messages.provider_reply_id is 'By what name an answer refers to it, where the provider has another one for that.';
comment on column public.messages.send_after is 'From when on a dispatcher may take it, while it is pending.';
comment on column public.messages.expires_at is 'From when on it is not worth sending any more.';
comment on column public.messages.attempts is 'How often it was handed to a dispatcher, since it was written or retried by hand.';
comment on column public.messages.lease_id is 'Names the last claim; a report under another one counts for nothing.';
comment on column public.messages.leased_until is 'Until when a dispatcher has it; after that its fate is unknown.';
comment on column public.messages.last_error is 'Why the last attempt failed.';
comment on column public.messages.sent_at is 'When the provider took it.';
comment on column public.messages.delivered_at is 'When the provider said that it arrived.';
create unique index messages_reminders_once on public.messages (session_id, reader_id, kind, about_start) where kind is not null;
create index messages_due on public.messages (send_after, event_id, id) where status = 'pending' and leased_until is null;
create index messages_leased on public.messages (leased_until) where leased_until is not null;
create index messages_session on public.messages (session_id);
create index messages_booking on public.messages (booking_id) where booking_id is not null;
create index messages_cancellation_request on public.messages (cancellation_request_id) where cancellation_request_id is not null;
create index messages_reader_profile on public.messages (reader_profile_id, created_at, id) where reader_profile_id is not null;
create index messages_reader_guardian on public.messages (reader_guardian_id) where reader_guardian_id is not null;
create index messages_provider_message on public.messages (provider_message_id, provider) where provider_message_id is not null;
create index messages_provider_reply on public.messages (provider_reply_id, provider) where provider_reply_id is not null;
create index messages_template on public.messages (template);
create index messages_age on public.messages (created_at, id);
alter table public.messages enable row level security;
grant select on public.messages to authenticated, service_role;
create policy "People read what they were told, admins all" on public.messages
  for select to authenticated
  using (reader_profile_id = (select private.caller_id()) or (select private.is_admin()));

create table public.inbox_messages (
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null references public.messages (id) on delete cascade,
  channel text not null,
  sent_to text not null,
  subject text,
  body text not null,
  buttons jsonb not null default '[]',
  attachment_name text,
  attachment text,
  created_at timestamptz not null default private.now(),
  constraint inbox_messages_channels_are_known check (channel in ('whatsapp', 'email'))
);
comment on table public.inbox_messages is
  'Where messages go on a developer''s machine instead of to a provider, word for word. Stays empty in production.';
comment on column public.inbox_messages.channel is 'How it would have gone: whatsapp or email.';
comment on column public.inbox_messages.sent_to is 'The phone or e-mail address.';
comment on column public.inbox_messages.subject is 'Of an e-mail.';
comment on column public.inbox_messages.body is 'What it says.';
comment on column public.inbox_messages.buttons is 'The buttons under it: [{"id", "title"}].';
comment on column public.inbox_messages.attachment_name is 'What the attachment is called.';
comment on column public.inbox_messages.attachment is 'The text of the attachment, such as a calendar entry.';
create index inbox_messages_message on public.inbox_messages (message_id);
create index inbox_messages_age on public.inbox_messages (created_at, id);
alter table public.inbox_messages enable row level security;
grant select on public.inbox_messages to authenticated, service_role;
create policy "Admins read the inbox" on public.inbox_messages
  for select to authenticated using ((select private.is_admin()));

create table private.early_reports (
  provider text not null,
  provider_message_id text not null,
  reply_id text,
  status text not null,
  created_at timestamptz not null default private.now(),
  primary key (provider, provider_message_id)
);
comment on table private.early_reports is
  'What providers said of messages before the dispatcher had reported them; kept for a day.';
create index early_reports_age on private.early_reports (created_at);
alter table private.early_reports enable row level security;

-- Writing them ---------------------------------------------------------------------------------------

create function private.write_message(
  p_template text, p_reader_profile_id uuid, p_reader_guardian_id uuid, p_session_id uuid, p_facts jsonb default '{}',
  p_reader public.message_reader default null, p_event_id bigint default null, p_cancellation_request_id uuid default null,
  p_booking_id uuid default null, p_about_start timestamptz default null, p_expires_at timestamptz default null
) returns uuid
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
  v_id uuid;
begin
  select * into v_session from public.sessions where id = p_session_id;
  insert into public.messages (
    template, reader, reader_profile_id, reader_guardian_id, session_id, booking_id, cancellation_request_id, event_id,
    about_start, facts, expires_at)
  select t.name,
         coalesce(p_reader, case
           when p_reader_guardian_id is not null then 'guardian'::public.message_reader
           when p_reader_profile_id = v_session.tutor_user_id then 'tutor'
           when p_reader_profile_id = v_session.student_user_id then 'student'
           else 'admin' end),
         p_reader_profile_id, p_reader_guardian_id, p_session_id, p_booking_id, p_cancellation_request_id, p_event_id,
         coalesce(p_about_start, v_session.scheduled_start_utc), p_facts,
         least(private.now() + t.worth_for, p_expires_at)
    from private.templates t where t.name = p_template
  on conflict (event_id, template, reader_id) do nothing
  returning id into v_id;
  return v_id;
end;
$$;
comment on function private.write_message(
  text, uuid, uuid, uuid, jsonb, public.message_reader, bigint, uuid, uuid, timestamptz, timestamptz) is
  'Puts down one message to somebody of the house or to a guardian; null when it was put down for that event already.';

create type private.news as (
  session_id uuid, booking_id uuid, cancellation_request_id uuid, tutor_id uuid, student_id uuid,
  asker_id uuid, asker_side public.message_reader, actor_id uuid, about_start timestamptz, expires_at timestamptz, facts jsonb);
comment on type private.news is 'What an event says to people: about what, whom it concerns, who did it, until when it is worth telling.';

create function private.news_of_session(p_event private.outbox_events) returns private.news
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_said jsonb := p_event.payload;
  v_starts_at timestamptz := v_said ->> 'scheduled_start_utc';
  v_ends_at timestamptz := v_said ->> 'scheduled_end_utc';
  v_session public.sessions;
  v_is_current boolean;
  v_news private.news;
begin
  select * into v_session from public.sessions where id = p_event.aggregate_id;
  -- By the time of a repair it may have moved on: then who did it and why is another action's.
  v_is_current := v_session.version = (v_said ->> 'version')::integer;
  v_news.session_id := v_session.id;
  v_news.tutor_id := v_session.tutor_user_id;
  v_news.student_id := v_session.student_user_id;
  v_news.actor_id := case when v_is_current then v_session.updated_by_user_id end;
  v_news.about_start := coalesce(v_starts_at, v_session.scheduled_start_utc);
  v_news.expires_at := case
    when p_event.event_type = 'session.started' then v_ends_at
    when p_event.event_type in ('session.rescheduled', 'session.reopened') then v_starts_at
    -- What is called off after its time is still news; what is called off before it, only until then.
    when p_event.event_type = 'session.cancelled' and v_ends_at > p_event.recorded_at then v_ends_at end;
  v_news.facts := jsonb_strip_nulls(jsonb_build_object(
    'from_start_utc', coalesce(v_said -> 'previous_start_utc', v_said -> 'scheduled_start_utc'),
    'from_end_utc', coalesce(v_said -> 'previous_end_utc', v_said -> 'scheduled_end_utc'),
    'summary', v_said -> 'text',
    'reason', case when v_is_current then v_session.status_reason end,
    'by_role', case when v_is_current then v_session.updated_by_role end));
  return v_news;
end;
$$;
comment on function private.news_of_session(private.outbox_events) is 'What an event about a session says to people.';

create function private.news_of_wish(p_event private.outbox_events) returns private.news
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_wish jsonb;
  v_session public.sessions;
  v_news private.news;
begin
  if p_event.event_type like 'cancellation.%' then
    select to_jsonb(r) into v_wish from public.cancellation_requests r where r.id = (p_event.payload ->> 'request_id')::uuid;
    v_news.cancellation_request_id := v_wish ->> 'id';
  else
    select to_jsonb(r) into v_wish from public.reschedule_requests r where r.id = (p_event.payload ->> 'request_id')::uuid;
  end if;
  select * into v_session from public.sessions where id = (v_wish ->> 'session_id')::uuid;
  v_news.session_id := v_session.id;
  v_news.tutor_id := v_session.tutor_user_id;
  v_news.student_id := v_session.student_user_id;
  v_news.asker_id := v_wish ->> 'requested_by_user_id';
  v_news.asker_side := case when v_news.asker_id = v_session.tutor_user_id then 'tutor' else 'student' end;
  v_news.actor_id := case when p_event.event_type like '%.requested' then v_wish ->> 'requested_by_user_id'
                          else v_wish ->> 'decided_by_user_id' end;
  v_news.about_start := v_session.scheduled_start_utc;
  v_news.facts := jsonb_strip_nulls(jsonb_build_object(
    'request_id', v_wish -> 'id', 'status', p_event.payload -> 'status', 'reason', v_wish -> 'reason',
    'asked_by', v_wish -> 'requested_by_role', 'wished_start_utc', v_wish -> 'proposed_starts_utc' -> 0,
    'decision_reason', v_wish -> 'decision_reason',
    'why', case
      when p_event.event_type = 'cancellation.call_requested' then 'call_requested'
      when p_event.payload ->> 'why' in ('unreachable', 'failed', 'unknown') then 'not_reached'
      else p_event.payload ->> 'why' end));
  return v_news;
end;
$$;
comment on function private.news_of_wish(private.outbox_events) is 'What an event about a wish to cancel, or for another time, says to people.';

create function private.news_of_booking(p_event private.outbox_events) returns private.news
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_booking public.bookings;
  v_news private.news;
begin
  select * into v_booking from public.bookings where id = p_event.aggregate_id;
  v_news.booking_id := v_booking.id;
  v_news.tutor_id := v_booking.tutor_user_id;
  v_news.student_id := v_booking.student_user_id;
  v_news.actor_id := case when p_event.event_type = 'booking.requested' then v_booking.student_user_id
                          else v_booking.decided_by_user_id end;
  v_news.about_start := v_booking.starts_at;
  v_news.expires_at := v_booking.starts_at;
  v_news.facts := jsonb_strip_nulls(jsonb_build_object('reason', v_booking.reason, 'by_role', v_booking.decided_by_role));
  return v_news;
end;
$$;
comment on function private.news_of_booking(private.outbox_events) is 'What an event about a booking says to people.';

create function private.news_of_plan(p_event private.outbox_events) returns private.news
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_news private.news;
begin
  select tutor_user_id, student_user_id into v_news.tutor_id, v_news.student_id
    from public.matches where id = p_event.aggregate_id;
  v_news.actor_id := private.caller_id();
  v_news.about_start := p_event.payload -> 'sessions' -> 0 ->> 'scheduled_start_utc';
  v_news.facts := jsonb_build_object(
    'match_id', p_event.aggregate_id,
    'session_ids', jsonb_path_query_array(p_event.payload, '$.sessions[*].session_id'));
  return v_news;
end;
$$;
comment on function private.news_of_plan(private.outbox_events) is 'What an event about the lessons of a match says to people.';

create function private.tell_of_event(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_news private.news;
begin
  v_news := case
    when p_event.aggregate_type = 'match' then private.news_of_plan(p_event)
    when p_event.aggregate_type = 'booking' then private.news_of_booking(p_event)
    when p_event.event_type ~ '^(cancellation|reschedule)\.' then private.news_of_wish(p_event)
    else private.news_of_session(p_event) end;
  -- Told is only what somebody began: the clock cannot know whether anybody is there, and a correction is no beginning.
  if p_event.event_type = 'session.started'
     and (p_event.payload ->> 'previous_status' <> 'scheduled' or (p_event.payload ->> 'is_delayed')::boolean) then
    return;
  end if;
  insert into public.messages (
    template, reader, reader_profile_id, reader_guardian_id, session_id, booking_id, cancellation_request_id, event_id,
    about_start, facts, expires_at)
  select n.template, who.reader, who.profile_id, who.guardian_id, v_news.session_id, v_news.booking_id,
         v_news.cancellation_request_id, p_event.id, v_news.about_start,
         -- Who asked knows why they did; to them the reason is the decision's.
         case n.reader when 'asker' then v_news.facts || jsonb_build_object('reason', v_news.facts -> 'decision_reason')
                       else v_news.facts end,
         least(p_event.recorded_at + t.worth_for, v_news.expires_at)
    from private.notices n
    join private.templates t on t.name = n.template
   cross join lateral (
     select 'tutor'::public.message_reader as reader, v_news.tutor_id as profile_id, null::uuid as guardian_id where n.reader = 'tutor'
     union all
     select 'student', v_news.student_id, null where n.reader = 'student'
     union all
     select v_news.asker_side, v_news.asker_id, null where n.reader = 'asker'
     union all
     select 'admin', r.profile_id, null from public.user_roles r where n.reader = 'admins' and r.role = 'admin'
     union all
     select 'guardian', null, g.id from public.guardians g
      where n.reader = 'guardian' and g.student_user_id = v_news.student_id and g.is_primary) as who
   where n.event_type = p_event.event_type
     and (who.guardian_id is not null
          or (who.profile_id is distinct from v_news.actor_id
              and exists (select from public.accounts a where a.profile_id = who.profile_id and a.deactivated_at is null)))
  on conflict (event_id, template, reader_id) do nothing;
end;
$$;
comment on function private.tell_of_event(private.outbox_events) is
  'Reaction: puts down a message for everybody who is told of the event. Run again, it puts down what is missing.';

create trigger notices_follow after insert or update or delete on private.notices
  for each statement execute function private.follow_notices();
insert into private.notices (event_type, reader, template) values
  ('session.started',     'guardian', 'session_started'),
  ('session.completed',   'student',  'session_completed'),
  ('session.completed',   'guardian', 'session_completed'),
  ('session.rescheduled', 'tutor',    'session_moved'),
  ('session.rescheduled', 'student',  'session_moved'),
  ('session.rescheduled', 'guardian', 'session_moved'),
  ('session.parked',      'tutor',    'session_parked'),
  ('session.parked',      'student',  'session_parked'),
  ('session.parked',      'guardian', 'session_parked'),
  ('session.cancelled',   'tutor',    'session_cancelled'),
  ('session.cancelled',   'student',  'session_cancelled'),
  ('session.cancelled',   'guardian', 'session_cancelled'),
  ('session.reopened',    'tutor',    'session_reopened'),
  ('session.reopened',    'student',  'session_reopened'),
  ('session.reopened',    'guardian', 'session_reopened'),
  ('session.disputed',    'admins',   'session_disputed'),
  ('schedule.generated',  'tutor',    'schedule_generated'),
  ('schedule.generated',  'student',  'schedule_generated'),
  ('schedule.generated',  'guardian', 'schedule_generated'),
  ('session.added',       'tutor',    'schedule_generated'),
  ('session.added',       'student',  'schedule_generated'),
  ('session.added',       'guardian', 'schedule_generated'),
  ('booking.requested',   'tutor',    'booking_requested'),
  ('booking.accepted',    'tutor',    'booking_accepted'),
  ('booking.accepted',    'student',  'booking_accepted'),
  ('booking.accepted',    'guardian', 'booking_accepted'),
  ('booking.declined',    'tutor',    'booking_declined'),
  ('booking.declined',    'student',  'booking_declined'),
  ('booking.cancelled',   'tutor',    'booking_cancelled'),
  ('booking.cancelled',   'student',  'booking_cancelled'),
  -- An approved wish is told of as the cancelled lesson, an accepted one as the moved one.
  ('cancellation.rejected',             'asker',  'cancellation_decided'),
  ('cancellation.reschedule_requested', 'asker',  'cancellation_decided'),
  ('cancellation.call_requested',       'asker',  'cancellation_decided'),
  ('cancellation.call_requested',       'admins', 'cancellation_to_decide'),
  ('reschedule.requested',              'admins', 'reschedule_requested'),
  ('reschedule.rejected',               'asker',  'reschedule_decided');

create function private.tell_guardian_of_no_show(p_session_id uuid) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.write_message('P23_session_noshow', null, g.id, s.id, p_event_id => e.id)
     from public.sessions s
     join public.guardians g on g.student_user_id = s.student_user_id and g.is_primary
    cross join lateral (
      select id from private.outbox_events
       where aggregate_type = 'session' and aggregate_id = s.id and event_type = 'session.no_show'
       order by aggregate_sequence desc limit 1) as e
    where s.id = p_session_id and s.status = 'no_show_student';
end;
$$;
comment on function private.tell_guardian_of_no_show(uuid) is
  'Puts down, once, that the guardian is to hear of the student''s absence.';

-- Reminders ------------------------------------------------------------------------------------------

create function private.plan_reminders(p_limit integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_planned integer;
begin
  if p_limit is null or p_limit not between 1 and 5000 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 5000.', jsonb_build_object('field', 'limit'));
  end if;
  -- Only as much as is near, so that a lesson that moves leaves little behind; a lesson somebody changes at this moment
  -- is passed over until the next run.
  with wanted as materialized (
    select s.id as session_id, s.scheduled_start_utc as starts_at, near.kind, near.ends_before, who.reader, who.profile_id, who.guardian_id
      from public.sessions s
      -- In the last two hours the hour's reminder is enough; a day's one is stale when that is due.
      join (values ('24h', interval '24 hours', interval '2 hours', interval '1 hour'),
                   ('1h', interval '1 hour', interval '0', interval '0')) as near (kind, at_most, more_than, ends_before)
        on s.scheduled_start_utc <= v_now + near.at_most and s.scheduled_start_utc > v_now + near.more_than
     cross join lateral (
       select case a.profile_id when s.tutor_user_id then 'tutor'::public.message_reader else 'student' end as reader,
              a.profile_id, null::uuid as guardian_id
         from public.accounts a where a.profile_id in (s.tutor_user_id, s.student_user_id) and a.deactivated_at is null
       union all
       select 'guardian', null, g.id from public.guardians g where g.student_user_id = s.student_user_id and g.is_primary) as who
     where s.status = 'scheduled' and s.scheduled_start_utc > v_now and s.scheduled_start_utc <= v_now + interval '24 hours'
       and not exists (
         select from public.messages m
          where m.session_id = s.id and m.reader_id = coalesce(who.profile_id, who.guardian_id)
            and m.kind = near.kind and m.about_start = s.scheduled_start_utc and m.status <> 'dropped')
     order by s.scheduled_start_utc, s.id limit p_limit
       for key share of s skip locked
  )
  insert into public.messages as m (
    template, reader, reader_profile_id, reader_guardian_id, session_id, kind, about_start, expires_at)
  select 'session_reminder', w.reader, w.profile_id, w.guardian_id, w.session_id, w.kind, w.starts_at, w.starts_at - w.ends_before
    from wanted w
   order by w.session_id, coalesce(w.profile_id, w.guardian_id), w.kind  -- as every planner does
  on conflict (session_id, reader_id, kind, about_start) where kind is not null do update
    -- A lesson that came back to its old time.
    set status = 'pending', send_after = v_now, attempts = 0, last_error = null
    where m.status = 'dropped';
  get diagnostics v_planned = row_count;
  return jsonb_build_object('planned', v_planned, 'more', v_planned >= p_limit);
end;
$$;

create function public.plan_reminders(p_limit integer default 500) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.plan_reminders(p_limit);
comment on function public.plan_reminders(integer) is
  'The scheduler puts down the reminders of lessons that begin within a day, and within an hour; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function private.plan_reminders(integer), public.plan_reminders(integer) to service_role;

create function private.drop_reminders(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  -- Most have none by now, and a sweep asks for thousands.
  v_ids uuid[] := array(select id from public.messages where session_id = p_event.aggregate_id and kind is not null);
begin
  if v_ids = '{}' then
    return;
  end if;
  -- What a dispatcher has at this moment is passed over; nobody who settles waits for us, nor we for them.
  with gone as (
    select m.id from public.messages m join public.sessions s on s.id = m.session_id
     where m.id = any (v_ids) and m.status = 'pending' and m.leased_until is null
       and (s.status <> 'scheduled' or s.scheduled_start_utc <> m.about_start)
       for update of m skip locked)
  update public.messages m set status = 'dropped' from gone where m.id = gone.id;
end;
$$;
comment on function private.drop_reminders(private.outbox_events) is
  'Reaction: a lesson that is not to begin at that time any more takes its reminders along.';
insert into private.reactions (name, event_types, function_name) values (
  'reminders',
  array['session.started', 'session.completed', 'session.no_show', 'session.cancelled', 'session.parked', 'session.rescheduled'],
  'drop_reminders');

-- What a dispatcher is given -------------------------------------------------------------------------

create function private.reader_document(p_message public.messages) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'kind', p_message.reader, 'name', coalesce(p.display_name, g.name), 'timezone', coalesce(p.timezone, g.timezone),
           'language', private.language_for(coalesce(a.language, g.language)),
           'quiet_from', coalesce(a.quiet_from, g.quiet_from, house.quiet_from),
           'quiet_until', coalesce(a.quiet_until, g.quiet_until, house.quiet_until),
           'phone', coalesce(a.phone, g.phone), 'email', coalesce(a.email, g.email),
           'whatsapp_opt_in', coalesce(a.whatsapp_opt_in, g.whatsapp_opt_in))
    from public.settings house
    left join public.profiles p on p.id = p_message.reader_profile_id
    left join public.accounts a on a.profile_id = p.id
    left join public.guardians g on g.id = p_message.reader_guardian_id
$$;
comment on function private.reader_document(public.messages) is 'Whom to tell, where, in which language, and when not.';

create function private.lesson_documents(p_session_ids uuid[]) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', s.id, 'subject', coalesce(r.subject, l.title), 'status', s.status, 'version', s.version,
           'scheduled_start_utc', s.scheduled_start_utc, 'scheduled_end_utc', s.scheduled_end_utc,
           'meet_link', coalesce(m.meet_link, s.meet_link), 'updated_at', greatest(s.updated_at, m.updated_at),
           'tutor', jsonb_build_object('name', t.display_name, 'timezone', t.timezone),
           'student', jsonb_build_object('name', u.display_name, 'timezone', u.timezone))
         order by s.scheduled_start_utc, s.id), '[]')
    from public.sessions s
    join public.profiles t on t.id = s.tutor_user_id
    join public.profiles u on u.id = s.student_user_id
    left join public.matches m on m.id = s.match_id
    left join public.requests r on r.id = m.request_id
    left join public.bookings b on b.id = s.booking_id
    left join public.listings l on l.id = b.listing_id
   where s.id = any (p_session_ids)
$$;
comment on function private.lesson_documents(uuid[]) is 'Lessons as messages speak of them, in order of start.';

create function private.booked_document(p_booking_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'id', b.id, 'title', l.title, 'status', b.status, 'start_utc', b.starts_at, 'end_utc', b.ends_at,
           'note', b.note, 'reason', b.reason, 'meet_link', case when b.status = 'accepted' then l.meet_link end,
           'tutor', jsonb_build_object('name', t.display_name, 'timezone', t.timezone),
           'student', jsonb_build_object('name', u.display_name, 'timezone', u.timezone))
    from public.bookings b
    join public.listings l on l.id = b.listing_id
    join public.profiles t on t.id = b.tutor_user_id
    join public.profiles u on u.id = b.student_user_id
   where b.id = p_booking_id
$$;
comment on function private.booked_document(uuid) is 'A booking as messages speak of it.';

create function private.letter_document(p_message public.messages) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_template private.templates;
  v_session_id uuid := coalesce(p_message.session_id, (select id from public.sessions where booking_id = p_message.booking_id));
begin
  select * into v_template from private.templates where name = p_message.template;
  return jsonb_build_object(
    'message_id', p_message.id, 'lease_id', p_message.lease_id, 'attempt', p_message.attempts,
    'template', p_message.template, 'kind', p_message.kind, 'channels', v_template.channels,
    'can_wait', v_template.can_wait and not exists (
      select from (values (p_message.about_start), ((p_message.facts ->> 'from_start_utc')::timestamptz)) as near (starts_at)
       where near.starts_at > v_now and near.starts_at <= v_now + v_template.urgent_within),
    'send_by', p_message.expires_at, 'created_at', p_message.created_at,
    'reader', private.reader_document(p_message),
    'session', private.lesson_documents(array[v_session_id]) -> 0,
    'sessions', private.lesson_documents(array(select jsonb_array_elements_text(p_message.facts -> 'session_ids')::uuid)),
    'booking', private.booked_document(p_message.booking_id),
    'facts', p_message.facts,
    -- Made here and kept only as a hash: this answer is the one place where it stands.
    'consent_token', case when p_message.template = 'P26_cancellation_request'
                       then private.new_consent_token(p_message.cancellation_request_id) end);
end;
$$;
comment on function private.letter_document(public.messages) is 'Everything that sending one message takes.';

create function private.is_outdated(p_message public.messages) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(p_message.expires_at <= private.now(), false)
      or exists (select from public.accounts where profile_id = p_message.reader_profile_id and deactivated_at is not null)
      or (p_message.kind is not null and not exists (
            select from public.sessions where id = p_message.session_id
               and status = 'scheduled' and scheduled_start_utc = p_message.about_start))
      or (p_message.template = 'P26_cancellation_request' and not exists (
            select from public.cancellation_requests where id = p_message.cancellation_request_id and status = 'pending'))
      or (p_message.template = 'cancellation_to_decide' and not exists (
            select from public.cancellation_requests
             where id = p_message.cancellation_request_id and status in ('pending', 'call_requested')))
      or (p_message.template = 'reschedule_requested' and not exists (
            select from public.reschedule_requests
             where id = (p_message.facts ->> 'request_id')::uuid and status = 'pending'))
      or (p_message.template = 'booking_requested' and not exists (
            select from public.bookings where id = p_message.booking_id and status = 'draft'))
$$;
comment on function private.is_outdated(public.messages) is
  'Whether it is too late to say it, its reader may not act any more, or it is not so any more.';

create function private.claim_messages(p_limit integer, p_lease_seconds integer, p_only text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_lease_id uuid := gen_random_uuid();
  v_ids uuid[];
  v_taken public.messages[];
begin
  if p_limit is null or p_limit not between 1 and 500 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 500.', jsonb_build_object('field', 'limit'));
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 5 and 3600 then
    perform private.refuse(422, 'invalid', 'lease_seconds must be 5 to 3600.', jsonb_build_object('field', 'lease_seconds'));
  end if;
  if p_only not in ('reminders', 'notices') then
    perform private.refuse(422, 'invalid', 'only must be reminders or notices.', jsonb_build_object('field', 'only'));
  end if;
  -- First of all, for it may wait: from here on nothing does.
  perform private.give_up_lost_leases(p_limit);
  select array_agg(id) into v_ids from (
    select m.id from public.messages m
     where m.status = 'pending' and m.leased_until is null and m.send_after <= v_now
       and (p_only is null or (p_only = 'reminders') = (m.kind is not null))
     order by m.send_after, m.event_id, m.id limit p_limit for update skip locked) as due;
  update public.messages m set status = 'dropped' where m.id = any (v_ids) and private.is_outdated(m);
  with taken as (
    update public.messages m
       set attempts = m.attempts + 1, lease_id = v_lease_id, leased_until = v_now + make_interval(secs => p_lease_seconds)
     where m.id = any (v_ids) and m.status = 'pending'
    returning m
  )
  select array_agg(t.m) into v_taken from taken t;
  return jsonb_build_object(
    'now', v_now,
    'messages', (select coalesce(jsonb_agg(private.letter_document(m) order by m.send_after, m.event_id, m.id), '[]')
                   from unnest(v_taken) as m),
    'more', coalesce(cardinality(v_ids), 0) >= p_limit);
end;
$$;

create function public.claim_messages(p_limit integer default 50, p_lease_seconds integer default 120, p_only text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.claim_messages(p_limit, p_lease_seconds, p_only);
comment on function public.claim_messages(integer, integer, text) is
  'A dispatcher leases what is due, oldest first, passing over what others have and dropping what is no longer true; p_only: reminders or notices. Ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.claim_messages(integer, integer, text), public.claim_messages(integer, integer, text) to service_role;

-- How it went ----------------------------------------------------------------------------------------

create type private.message_result as (
  message_id uuid, lease_id uuid, outcome public.message_outcome, channel text, provider text, provider_message_id text,
  error text, status_code integer, send_after timestamptz, retry_after_seconds integer, inbox jsonb);

create function private.message_waits() returns interval[]
language sql immutable
set search_path = '' set timezone = 'UTC'
return array['1 minute', '5 minutes', '30 minutes', '2 hours', '5 hours']::interval[];
comment on function private.message_waits() is
  'How long is waited after the first, second … attempt that failed; after one more a message is given up.';

create function private.lock_consents(p_message_ids uuid[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request_ids uuid[] := array(
    select cancellation_request_id from public.messages
     where id = any (p_message_ids) and template = 'P26_cancellation_request');
begin
  if v_request_ids <> '{}' then
    perform private.hold_consents(v_request_ids);
  end if;
end;
$$;
comment on function private.lock_consents(uuid[]) is
  'What becomes of a guardian''s message decides about a timer: the sessions and requests of such messages, locked before any message.';

create function private.settle_message(p_result private.message_result) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_message public.messages;
  v_wait interval;
  v_told text;
begin
  select * into v_message from public.messages
   where id = p_result.message_id and lease_id = p_result.lease_id for update;
  -- Whoever comes back late has nothing to say any more, but for one thing: that it was sent.
  if not found or (v_message.leased_until is null
                   and not (p_result.outcome = 'sent' and v_message.status in ('pending', 'unknown'))) then
    return 'stale';
  end if;
  v_wait := least(greatest((private.message_waits())[v_message.attempts] * (0.8 + 0.4 * random()),
                           make_interval(secs => p_result.retry_after_seconds)), interval '1 day');
  v_told := case
    when p_result.outcome = 'failed' and v_message.attempts <= cardinality(private.message_waits()) then 'retrying'
    when p_result.outcome in ('failed', 'refused') then 'failed'
    else p_result.outcome::text end;
  update public.messages
     set status = case when v_told in ('retrying', 'deferred') then 'pending' else v_told::public.message_status end,
         leased_until = null,
         -- Whoever was asked to come later has not tried: providers take only so many at once.
         attempts = attempts - (v_told = 'deferred' or (v_told = 'retrying' and p_result.status_code is not distinct from 429))::integer,
         send_after = case v_told
           when 'retrying' then v_now + v_wait
           when 'deferred' then least(p_result.send_after, v_now + interval '1 day')
           else send_after end,
         sent_at = case when v_told = 'sent' then v_now end,
         channel = p_result.channel, provider = p_result.provider, provider_message_id = p_result.provider_message_id,
         last_error = left(p_result.error, 500)
   where id = v_message.id
  returning * into v_message;
  if v_told = 'sent' and p_result.provider = 'inbox' then
    insert into public.inbox_messages (message_id, channel, sent_to, subject, body, buttons, attachment_name, attachment)
    select v_message.id, i.channel, i.sent_to, i.subject, i.body, coalesce(i.buttons, '[]'), i.attachment_name, i.attachment
      from jsonb_populate_record(null::public.inbox_messages, p_result.inbox) as i;
  end if;
  if v_message.template = 'P26_cancellation_request' then
    if v_told = 'sent' then
      perform private.start_consent_timer(v_message.cancellation_request_id);
    elsif v_told in ('failed', 'unknown', 'unreachable') then
      perform private.note_consent_unasked(v_message.cancellation_request_id, v_told);
    end if;
  end if;
  if v_told = 'sent' then
    perform private.note_report(v_message, r.status, r.reply_id) from private.early_reports r
      where r.provider = p_result.provider and r.provider_message_id = p_result.provider_message_id;
  end if;
  return v_told;
end;
$$;
comment on function private.settle_message(private.message_result) is
  'Writes down how one attempt ended and what follows: sent, retrying, failed, unknown, deferred, unreachable, or stale when the lease is another''s. The caller has locked its consent.';

create function private.give_up_lost_leases(p_limit integer) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_lost private.message_result[] := array(
    select row(m.id, m.lease_id, 'unknown', m.channel, m.provider, null, 'The dispatcher did not come back.',
               null, null, null, null)::private.message_result
      from public.messages m where m.leased_until <= private.now() order by m.leased_until, m.id limit p_limit);
begin
  if v_lost <> '{}' then
    perform private.lock_consents(array(select r.message_id from unnest(v_lost) as r));
    perform private.settle_message(r) from unnest(v_lost) as r order by r.message_id;
  end if;
end;
$$;
comment on function private.give_up_lost_leases(integer) is 'A dispatcher that is not back in time may have sent what it had: nobody sends it again.';

create function private.settle_messages(p_results jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_results private.message_result[];
  v_told text[] := '{}';
  v_result private.message_result;
begin
  if jsonb_typeof(p_results) = 'array' then
    select array_agg(r order by r.message_id) into v_results
      from jsonb_populate_recordset(null::private.message_result, p_results) as r;
  end if;
  if jsonb_typeof(p_results) is distinct from 'array'
     or exists (select from unnest(v_results) r
                 where r.outcome is null
                    or (r.outcome = 'deferred' and r.send_after is null)
                    or coalesce(r.channel not in ('whatsapp', 'email'), false)
                    or (r.outcome = 'sent' and r.provider = 'inbox'
                        and num_nulls(r.inbox ->> 'channel', r.inbox ->> 'sent_to', r.inbox ->> 'body') > 0)) then
    perform private.refuse(422, 'invalid',
      'Every result needs an outcome: sent, failed, refused, unknown, deferred (with send_after) or unreachable; one of the inbox, what was said.',
      jsonb_build_object('field', 'results'));
  end if;
  if v_results is not null then
    perform private.lock_consents(array(select r.message_id from unnest(v_results) as r));
    foreach v_result in array v_results loop
      v_told := v_told || private.settle_message(v_result);
    end loop;
  end if;
  return (select jsonb_object_agg(word, (select count(*) from unnest(v_told) as told where told = word))
            from unnest(array['sent', 'retrying', 'failed', 'unknown', 'deferred', 'unreachable', 'stale']) as word);
end;
$$;

create function public.settle_messages(p_results jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.settle_messages(p_results);
comment on function public.settle_messages(jsonb) is
  'A dispatcher reports how its leased messages ended: [{"message_id", "lease_id", "outcome", "channel", "provider", "provider_message_id", "error", "status_code", "send_after", "retry_after_seconds", "inbox"}]. A report under a lease that is another''s by now changes nothing; one that was lost may still say that it was sent. For the service key alone. Refuses: 422 invalid.';
grant execute on function private.settle_messages(jsonb), public.settle_messages(jsonb) to service_role;

create function private.note_report(p_message public.messages, p_status text, p_reply_id text) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  update public.messages
     set status = case when status not in ('sent', 'unknown') then status
                       when p_status in ('delivered', 'read') then 'delivered'::public.message_status
                       when p_status = 'failed' then 'failed' else status end,
         delivered_at = case when status in ('sent', 'unknown') and p_status in ('delivered', 'read') then private.now() else delivered_at end,
         last_error = case when status in ('sent', 'unknown') and p_status = 'failed' then 'The provider could not deliver it.' else last_error end,
         provider_reply_id = coalesce(p_reply_id, provider_reply_id)
   where id = p_message.id;
  if p_status = 'failed' and p_message.status in ('sent', 'unknown') and p_message.template = 'P26_cancellation_request' then
    perform private.note_consent_unasked(p_message.cancellation_request_id, 'failed');
  end if;
end;
$$;
comment on function private.note_report(public.messages, text, text) is
  'What a provider says afterwards of a message that it took; nothing goes backwards. The caller has locked its consent, and then the message.';

create type private.message_report as (provider text, provider_message_id text, reply_id text, status text);

create function private.note_message_statuses(p_statuses jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_reports private.message_report[];
  v_known uuid[];
  v_noted integer;
begin
  if jsonb_typeof(p_statuses) = 'array' then
    v_reports := array(select r from jsonb_populate_recordset(null::private.message_report, p_statuses) as r);
  end if;
  if jsonb_typeof(p_statuses) is distinct from 'array' or cardinality(v_reports) > 1000
     or exists (select from unnest(v_reports) r
                 where num_nulls(r.provider, r.provider_message_id, r.status) > 0
                    or r.status not in ('sent', 'delivered', 'read', 'failed')) then
    perform private.refuse(422, 'invalid',
      'Up to 1000 times what a provider says of a message of its own: sent, delivered, read or failed.',
      jsonb_build_object('field', 'statuses'));
  end if;
  -- Providers are quick: what the dispatcher has not reported yet is remembered, the worst for longest.
  insert into private.early_reports as e (provider, provider_message_id, reply_id, status)
  select distinct on (r.provider, r.provider_message_id) r.provider, r.provider_message_id, r.reply_id, r.status
    from unnest(v_reports) r
   where not exists (select from public.messages m
                      where m.provider_message_id = r.provider_message_id and m.provider = r.provider)
   order by r.provider, r.provider_message_id, r.status = 'failed' desc
  on conflict (provider, provider_message_id) do update
    set status = excluded.status, reply_id = coalesce(excluded.reply_id, e.reply_id) where e.status <> 'failed';
  v_known := array(
    select distinct m.id from unnest(v_reports) r
      join public.messages m on m.provider_message_id = r.provider_message_id and m.provider = r.provider);
  perform private.lock_consents(v_known);
  perform from public.messages where id = any (v_known) order by id for update;
  select count(private.note_report(m, r.status, r.reply_id)) into v_noted
    from unnest(v_reports) with ordinality as r (provider, provider_message_id, reply_id, status, position)
    join public.messages m on m.provider_message_id = r.provider_message_id and m.provider = r.provider;
  return jsonb_build_object('noted', v_noted);
end;
$$;

create function public.note_message_statuses(p_statuses jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.note_message_statuses(p_statuses);
comment on function public.note_message_statuses(jsonb) is
  'A provider says what became of messages that it took: [{"provider", "provider_message_id", "reply_id", "status"}]; what is not known yet is remembered for a day. For the service key alone. Refuses: 422 invalid.';
grant execute on function private.note_message_statuses(jsonb), public.note_message_statuses(jsonb) to service_role;

-- Looking at them ------------------------------------------------------------------------------------

create function private.message_document(p_message public.messages) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'id', p_message.id, 'template', p_message.template, 'kind', p_message.kind,
    'reader', jsonb_build_object('kind', p_message.reader, 'id', p_message.reader_id, 'name', coalesce(p.display_name, g.name)),
    'session_id', p_message.session_id, 'booking_id', p_message.booking_id,
    'cancellation_request_id', p_message.cancellation_request_id, 'about_start', p_message.about_start,
    'status', p_message.status, 'channel', p_message.channel, 'provider', p_message.provider,
    'attempts', p_message.attempts, 'send_after', case when p_message.status = 'pending' then p_message.send_after end,
    'expires_at', p_message.expires_at, 'last_error', p_message.last_error,
    'sent_at', p_message.sent_at, 'delivered_at', p_message.delivered_at, 'created_at', p_message.created_at)
    from (select) as always
    left join public.profiles p on p.id = p_message.reader_profile_id
    left join public.guardians g on g.id = p_message.reader_guardian_id
$$;
comment on function private.message_document(public.messages) is 'A message as its reader and admins see it.';

create function private.list_messages(
  p_session_id uuid, p_status public.message_status, p_after_created timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_is_admin boolean := private.has_role(v_caller_id, 'admin');
  v_limit integer := coalesce(p_limit, 50);
  v_page public.messages[];
begin
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  select array_agg(m order by m.created_at, m.id) into v_page from (
    select * from public.messages
     where (v_is_admin or reader_profile_id = v_caller_id)
       and (p_session_id is null or session_id = p_session_id)
       and (p_status is null or status = p_status)
       and (p_after_id is null or (created_at, id) > (p_after_created, p_after_id))
     order by created_at, id limit v_limit + 1) as m;
  return jsonb_build_object(
    'messages', (select coalesce(jsonb_agg(private.message_document(m) order by m.created_at, m.id), '[]')
                   from unnest(v_page[1:v_limit]) as m),
    'has_more', coalesce(cardinality(v_page), 0) > v_limit,
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;

create function public.list_messages(
  p_session_id uuid default null, p_status public.message_status default null, p_after_created timestamptz default null,
  p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_messages(p_session_id, p_status, p_after_created, p_after_id, p_limit);
comment on function public.list_messages(uuid, public.message_status, timestamptz, uuid, integer) is
  'What the caller was told or is to be told (everybody, for admins), oldest first, a page at a time. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_messages(uuid, public.message_status, timestamptz, uuid, integer),
  public.list_messages(uuid, public.message_status, timestamptz, uuid, integer) to authenticated;

create function private.retry_message(p_message_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_message public.messages;
begin
  perform private.require_admin();
  select * into v_message from public.messages where id = p_message_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such message.');
  end if;
  if v_message.status not in ('failed', 'unknown', 'unreachable') then
    perform private.refuse(409, 'illegal_transition', 'Only a message that did not go out, or may not have, is sent again.',
                           jsonb_build_object('from', v_message.status, 'to', 'pending'));
  end if;
  if private.is_outdated(v_message) then
    perform private.refuse(409, 'too_late', 'What it says is not so any more, or no longer worth saying.',
                           jsonb_strip_nulls(jsonb_build_object('closed_at', v_message.expires_at)));
  end if;
  update public.messages set status = 'pending', attempts = 0, send_after = private.now()
   where id = p_message_id returning * into v_message;
  perform private.record_audit('message_retried', 'message', p_message_id);
  return private.message_document(v_message);
end;
$$;

create function public.retry_message(p_message_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.retry_message(p_message_id);
comment on function public.retry_message(uuid) is
  'Admins have a message sent again that failed, found no address, or whose fate is unknown. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, too_late.';
grant execute on function private.retry_message(uuid), public.retry_message(uuid) to authenticated;

create function private.list_inbox(p_after_created timestamptz, p_after_id uuid, p_limit integer) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 50);
  v_page public.inbox_messages[];
begin
  perform private.require_admin();
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  select array_agg(i order by i.created_at desc, i.id desc) into v_page from (
    select * from public.inbox_messages
     where p_after_id is null or (created_at, id) < (p_after_created, p_after_id)
     order by created_at desc, id desc limit v_limit + 1) as i;
  return jsonb_build_object(
    'messages', (select coalesce(jsonb_agg(to_jsonb(i) || jsonb_build_object(
                          'template', (select template from public.messages where id = i.message_id))
                        order by i.created_at desc, i.id desc), '[]')
                   from unnest(v_page[1:v_limit]) as i),
    'has_more', coalesce(cardinality(v_page), 0) > v_limit);
end;
$$;

create function public.list_inbox(
  p_after_created timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_inbox(p_after_created, p_after_id, p_limit);
comment on function public.list_inbox(timestamptz, uuid, integer) is
  'Admins see what would have been sent from a developer''s machine, newest first, a page at a time. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_inbox(timestamptz, uuid, integer), public.list_inbox(timestamptz, uuid, integer) to authenticated;

-- Forgetting -----------------------------------------------------------------------------------------

create function private.forget_messages(p_kept_since timestamptz, p_limit integer) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_messages integer;
begin
  -- What never found a channel expires as it stands.
  with old as materialized (
    select id from public.messages
     where created_at < p_kept_since and (status <> 'pending' or expires_at < p_kept_since)
     order by created_at limit p_limit for update skip locked)
  delete from public.messages m using old where m.id = old.id;
  get diagnostics v_messages = row_count;

  with old as materialized (
    select provider, provider_message_id from private.early_reports
     where created_at < private.now() - interval '1 day' limit p_limit for update skip locked)
  delete from private.early_reports r using old
   where (r.provider, r.provider_message_id) = (old.provider, old.provider_message_id);
  return jsonb_build_object('messages', v_messages);
end;
$$;
comment on function private.forget_messages(timestamptz, integer) is
  'Forgets messages that are over and old, their words in the inbox with them, and what providers said of strangers.';
