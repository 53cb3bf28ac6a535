-- 20. Reactions
--
-- What the house itself does when a session changes, without the transitions knowing of it. Each part is a function
-- that takes an event, and a row of `private.reactions` that names it; the outbox runs it in the event's own
-- transaction, behind a savepoint, so that a failure never undoes a lesson and is repaired later by `clean_up`. A
-- repair may come long after, and after other events of the same session: so each of them gives the same rows
-- whenever it runs, in whatever order, once or again. `docs/extending.md` shows how to add another.
--
--   learning_events   every action leaves its mark in the student's record
--   review_windows    a session that is done may be reviewed by its student, once, for review_window_days
--   outcome_counts    how the days went: entries that are added up; a correction adds negative ones
--   Realtime          where Supabase Realtime is there, both people's screens hear of the change
--
-- What people themselves put into a learning record (assessments, homework, notes), and finding things in it, is
-- left to a later chapter.

-- The learning record --------------------------------------------------------------------------------

create type public.learning_event_type as enum (
  'session', 'assessment', 'video', 'quiz', 'badge', 'streak', 'level_up', 'daily_recommendations', 'homework', 'note',
  'session_completed', 'session_cancelled', 'session_rescheduled', 'session_missed');
comment on type public.learning_event_type is 'What a learning record is made of.';

create table public.learning_events (
  id uuid primary key default gen_random_uuid(),
  event_type public.learning_event_type not null,
  student_user_id uuid not null references public.profiles (id),
  tutor_user_id uuid references public.profiles (id),
  session_id uuid references public.sessions (id),
  author_user_id uuid references public.profiles (id),
  is_private boolean not null default false,
  event_data jsonb not null default '{}',
  content_for_embedding text not null,
  search tsvector generated always as (to_tsvector('pg_catalog.english', content_for_embedding)) stored,
  outbox_event_id bigint,
  occurred_at timestamptz not null,
  created_at timestamptz not null default private.now(),
  constraint learning_events_once unique (outbox_event_id)
);
comment on table public.learning_events is 'What happened in a student''s learning: every session action, and what people record.';
comment on column public.learning_events.event_type is 'What happened; the last four are a session''s actions.';
comment on column public.learning_events.event_data is 'The particulars of the type, such as the old time of a move.';
comment on column public.learning_events.content_for_embedding is 'The event in sentences, for searching; times are UTC.';
comment on column public.learning_events.search is
  'The words of the sentences, for searching. Endings are taken off as in English: words of other languages lose the same endings when they are asked for, so they are found too.';
comment on column public.learning_events.author_user_id is 'Who recorded it; empty for what the house itself noted.';
comment on column public.learning_events.is_private is 'A remark that its tutor and admins read, and its student does not.';
comment on column public.learning_events.outbox_event_id is
  'The event of the outbox it was written for, which may be forgotten by now; empty for what a person recorded.';
comment on column public.learning_events.occurred_at is 'When it happened; the row may have come later.';
comment on constraint learning_events_once on public.learning_events is 'An action is recorded once, however often its reaction runs.';
create index learning_events_student on public.learning_events (student_user_id, occurred_at, id);
create index learning_events_tutor on public.learning_events (tutor_user_id, occurred_at, id);
create index learning_events_session on public.learning_events (session_id);
create index learning_events_author on public.learning_events (author_user_id) where author_user_id is not null;
create trigger learning_events_stay before update or truncate on public.learning_events
  for each statement execute function private.refuse_change('What was recorded stays as it was; record another event.');
alter table public.learning_events enable row level security;
grant select on public.learning_events to authenticated, service_role;
create policy "Tutors read their events, students those shared, admins all" on public.learning_events
  for select to authenticated
  using ((student_user_id = (select private.caller_id()) and not is_private)
         or tutor_user_id = (select private.caller_id())
         or (select private.is_admin()));

create function private.learn_from_session(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_said jsonb := p_event.payload;
  v_time constant text := 'YYYY-MM-DD HH24:MI "UTC"';
begin
  insert into public.learning_events (
    event_type, student_user_id, tutor_user_id, session_id, event_data, content_for_embedding, outbox_event_id, occurred_at)
  select case p_event.event_type
           when 'session.completed' then 'session_completed'::public.learning_event_type
           when 'session.no_show' then 'session_missed'
           when 'session.cancelled' then 'session_cancelled'
           else 'session_rescheduled' end,
         s.student_user_id, s.tutor_user_id, s.id,
         jsonb_strip_nulls(jsonb_build_object(
           'status', v_said -> 'status', 'previous_status', v_said -> 'previous_status',
           'scheduled_start_utc', v_said -> 'scheduled_start_utc', 'previous_start_utc', v_said -> 'previous_start_utc',
           'reason', told.reason)),
         concat_ws(' ',
           coalesce(r.subject, 'Single') || ' lesson on '
             || to_char(coalesce(v_said ->> 'previous_start_utc', v_said ->> 'scheduled_start_utc')::timestamptz, v_time)
             || case p_event.event_type
                  when 'session.completed' then ' was held.'
                  when 'session.no_show' then ' was missed by the ' || substr(v_said ->> 'status', 9) || '.'
                  when 'session.cancelled' then ' was cancelled.'
                  when 'session.parked' then ' was put off.'
                  else ' was moved to ' || to_char((v_said ->> 'scheduled_start_utc')::timestamptz, v_time) || '.' end,
           'Reason: ' || told.reason,
           case when p_event.event_type in ('session.completed', 'session.no_show') then 'Notes: ' || s.tutor_notes end),
         p_event.id, p_event.occurred_at
    from public.sessions s
    -- A session that has moved on by the time of a repair has another action's reason.
   cross join lateral (select case when s.version = (v_said ->> 'version')::integer then s.status_reason end) as told (reason)
    left join public.matches m on m.id = s.match_id
    left join public.requests r on r.id = m.request_id
   where s.id = p_event.aggregate_id
  on conflict (outbox_event_id) do nothing;
end;
$$;
comment on function private.learn_from_session(private.outbox_events) is
  'Reaction: a session''s action leaves its mark in the student''s learning record.';
insert into private.reactions (name, event_types, function_name) values (
  'learning_record', array['session.completed', 'session.no_show', 'session.cancelled', 'session.rescheduled', 'session.parked'],
  'learn_from_session');

-- Reviews --------------------------------------------------------------------------------------------

create table public.review_windows (
  session_id uuid primary key references public.sessions (id),
  closes_at timestamptz,
  as_of integer not null,
  created_at timestamptz not null default private.now()
);
comment on table public.review_windows is 'Until when a student may review a session that was done.';
comment on column public.review_windows.closes_at is 'When it is too late; empty since a correction took back that the session is done.';
comment on column public.review_windows.as_of is 'The number of the event that said so; only a later one may say otherwise.';
alter table public.review_windows enable row level security;
grant select on public.review_windows to authenticated, service_role;
create policy "Who reads a session reads until when it may be reviewed" on public.review_windows
  for select to authenticated
  using (session_id in (select id from public.sessions));

create table public.reviews (
  session_id uuid primary key references public.sessions (id),
  rating integer not null,
  comment text,
  student_user_id uuid not null references public.profiles (id),
  tutor_user_id uuid not null references public.profiles (id),
  created_at timestamptz not null default private.now(),
  constraint reviews_rate_from_one_to_five check (rating between 1 and 5),
  constraint reviews_comment_is_bounded check (char_length(comment) between 1 and 2000)
);
comment on table public.reviews is 'What students say of sessions that were held; one for each. Append-only.';
comment on column public.reviews.rating is 'One to five; five is best.';
comment on column public.reviews.comment is 'What the student adds; its tutor and admins read it.';
comment on constraint reviews_rate_from_one_to_five on public.reviews is 'rating is 1 to 5.';
comment on constraint reviews_comment_is_bounded on public.reviews is 'comment has at most 2000 characters.';
create index reviews_student on public.reviews (student_user_id);
create index reviews_tutor on public.reviews (tutor_user_id, created_at);
create trigger reviews_append_only before update or delete or truncate on public.reviews
  for each statement execute function private.refuse_change('A review stays as it was given.');
alter table public.reviews enable row level security;
grant select on public.reviews to authenticated, service_role;
create policy "Who reads a session reads its review" on public.reviews
  for select to authenticated
  using (session_id in (select id from public.sessions));

create function private.set_review_window(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_is_done boolean := p_event.payload @> '{"status": "done"}';
  v_was_done boolean := p_event.payload @> '{"previous_status": "done"}';
begin
  if v_is_done = v_was_done then
    return;
  end if;
  insert into public.review_windows as w (session_id, closes_at, as_of)
  select s.id,
         case when v_is_done
           then p_event.occurred_at + (select make_interval(days => review_window_days) from public.settings) end,
         p_event.aggregate_sequence
    from public.sessions s where s.id = p_event.aggregate_id
  on conflict (session_id) do update set closes_at = excluded.closes_at, as_of = excluded.as_of
    where w.as_of < excluded.as_of;
end;
$$;
comment on function private.set_review_window(private.outbox_events) is
  'Reaction: a session that has become done may be reviewed for a while; one that is done no longer may not.';
insert into private.reactions (name, event_types, function_name) values (
  'review_window',
  array['session.started', 'session.completed', 'session.no_show', 'session.cancelled', 'session.parked', 'session.reopened',
        'session.rescheduled'],
  'set_review_window');

insert into private.event_types (name, description) values
  ('session.reviewed', 'Its student said how the session was.');

create function private.review_session(p_session_id uuid, p_rating integer, p_comment text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions;
  v_review public.reviews;
  v_closes_at timestamptz;
  v_violated text;
begin
  select * into v_session from public.sessions
   where id = p_session_id and (v_caller_id in (tutor_user_id, student_user_id) or private.is_admin()) for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  if v_session.student_user_id <> v_caller_id or not private.has_role(v_caller_id, 'student') then
    perform private.refuse(403, 'not_allowed', 'Only its student may review a session.');
  end if;
  select * into v_review from public.reviews where session_id = p_session_id;
  if found then
    if (v_review.rating, v_review.comment) is distinct from (p_rating, nullif(btrim(p_comment), '')) then
      perform private.refuse(409, 'already_reviewed', 'The session has its review.');
    end if;
    return jsonb_build_object('review', to_jsonb(v_review), 'changed', false);
  end if;
  select closes_at into v_closes_at from public.review_windows where session_id = p_session_id;
  if v_closes_at is null then
    perform private.refuse(409, 'illegal_transition', 'Only a session that is done can be reviewed.',
                           jsonb_build_object('from', v_session.status));
  end if;
  if private.now() >= v_closes_at then
    perform private.refuse(409, 'too_late', 'It is too late for this.',
                           jsonb_build_object('closed_at', v_closes_at, 'policy', 'review_window_days'));
  end if;
  if p_rating is null then
    perform private.refuse(422, 'invalid', 'rating is 1 to 5.', jsonb_build_object('field', 'rating'));
  end if;
  insert into public.reviews (session_id, rating, comment, student_user_id, tutor_user_id)
  values (p_session_id, p_rating, nullif(btrim(p_comment), ''), v_session.student_user_id, v_session.tutor_user_id)
  returning * into v_review;
  perform private.record_audit('session_reviewed', 'session', p_session_id, jsonb_build_object('rating', p_rating));
  perform private.record_event('session.reviewed', 'session', p_session_id,
    jsonb_build_object('session_id', p_session_id, 'tutor_id', v_session.tutor_user_id,
                       'student_id', v_session.student_user_id, 'rating', p_rating), private.now());
  return jsonb_build_object('review', to_jsonb(v_review), 'changed', true);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.review_session(p_session_id uuid, p_rating integer, p_comment text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.review_session(p_session_id, p_rating, p_comment);
comment on function public.review_session(uuid, integer, text) is
  'Its student says how a session was that is done, once, within review_window_days. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, too_late, already_reviewed, 422 invalid.';
grant execute on function
  private.review_session(uuid, integer, text), public.review_session(uuid, integer, text) to authenticated;

-- Counting the days ----------------------------------------------------------------------------------

create table private.outcome_counts (
  event_id bigint not null,
  outcome text not null,
  on_date date not null,
  tutor_user_id uuid not null references public.profiles (id),
  amount integer not null,
  minutes integer not null,
  primary key (event_id, outcome, amount),
  constraint outcome_counts_come_one_by_one check (amount in (1, -1)),
  constraint outcome_counts_of_what_is_counted check (
    outcome in ('done', 'no_show_student', 'no_show_tutor', 'cancelled', 'delayed'))
);
comment on table private.outcome_counts is
  'What each event adds to a day''s outcomes and takes from them. Only added to, so that nobody waits for a counter.';
comment on column private.outcome_counts.outcome is 'The status that a session ended in; or that it is delayed, whatever it ends in.';
comment on column private.outcome_counts.on_date is 'The date of the session''s start, in UTC.';
comment on column private.outcome_counts.minutes is 'How long the session is, with the sign of the amount.';
create index outcome_counts_day on private.outcome_counts (on_date, tutor_user_id);
create index outcome_counts_tutor on private.outcome_counts (tutor_user_id, on_date);
alter table private.outcome_counts enable row level security;

create function private.count_outcome(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_said jsonb := p_event.payload;
begin
  -- Where one edit gave another time and another status, this event tells of the time and the next one of the status.
  if p_event.event_type = 'session.rescheduled' and v_said ->> 'status' not in ('scheduled', v_said ->> 'previous_status') then
    v_said := v_said || jsonb_build_object('status', v_said -> 'previous_status', 'is_delayed', v_said -> 'was_delayed');
  end if;
  insert into private.outcome_counts (event_id, outcome, on_date, tutor_user_id, amount, minutes)
  select p_event.id, entry.outcome, entry.starts_at::date, said.tutor_id, entry.amount,
         entry.amount * (extract(epoch from entry.ends_at - entry.starts_at) / 60)::integer
    from jsonb_to_record(v_said) as said (
           tutor_id uuid, status text, is_delayed boolean, scheduled_start_utc timestamptz, scheduled_end_utc timestamptz,
           previous_status text, was_delayed boolean, previous_start_utc timestamptz, previous_end_utc timestamptz)
   cross join lateral (values
     (said.previous_status, -1, said.status = said.previous_status,
      coalesce(said.previous_start_utc, said.scheduled_start_utc), coalesce(said.previous_end_utc, said.scheduled_end_utc)),
     (case when said.was_delayed then 'delayed' end, -1, said.is_delayed,
      coalesce(said.previous_start_utc, said.scheduled_start_utc), coalesce(said.previous_end_utc, said.scheduled_end_utc)),
     (said.status, 1, said.status = said.previous_status, said.scheduled_start_utc, said.scheduled_end_utc),
     (case when said.is_delayed then 'delayed' end, 1, said.was_delayed, said.scheduled_start_utc, said.scheduled_end_utc)
   ) as entry (outcome, amount, is_the_same, starts_at, ends_at)
   where entry.outcome in ('done', 'no_show_student', 'no_show_tutor', 'cancelled', 'delayed')
     and not (entry.is_the_same and said.previous_start_utc is null)
  on conflict (event_id, outcome, amount) do nothing;
end;
$$;
comment on function private.count_outcome(private.outbox_events) is
  'Reaction: takes from its day what a session was before the event, and adds to its day what it has become.';
insert into private.reactions (name, event_types, function_name) values (
  'outcome_counts',
  array['session.started', 'session.completed', 'session.no_show', 'session.cancelled', 'session.parked', 'session.reopened',
        'session.rescheduled', 'session.delayed'],
  'count_outcome');

create function private.get_daily_outcomes(p_from date, p_to date, p_tutor_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  if p_from is null or p_to is null or p_to < p_from or p_to - p_from > 366 then
    perform private.refuse(422, 'invalid', 'from must not be after to, nor more than 366 days before it.', jsonb_build_object('field', 'from'));
  end if;
  return jsonb_build_object('from', p_from, 'to', p_to, 'days', (
    select coalesce(jsonb_agg(to_jsonb(day) order by day.on_date), '[]') from (
      select on_date,
             coalesce(sum(amount) filter (where outcome = 'done'), 0) as done,
             coalesce(sum(amount) filter (where outcome = 'no_show_student'), 0) as no_show_student,
             coalesce(sum(amount) filter (where outcome = 'no_show_tutor'), 0) as no_show_tutor,
             coalesce(sum(amount) filter (where outcome = 'cancelled'), 0) as cancelled,
             coalesce(sum(amount) filter (where outcome = 'delayed'), 0) as delayed,
             round(coalesce(sum(minutes) filter (where outcome = 'done'), 0) / 60.0, 2) as hours_done
        from private.outcome_counts
       where on_date between p_from and p_to and (p_tutor_id is null or tutor_user_id = p_tutor_id)
       group by on_date) as day
     where (day.done, day.no_show_student, day.no_show_tutor, day.cancelled, day.delayed) <> (0, 0, 0, 0, 0)));
end;
$$;

create function public.get_daily_outcomes(p_from date, p_to date, p_tutor_id uuid default null) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_daily_outcomes(p_from, p_to, p_tutor_id);
comment on function public.get_daily_outcomes(date, date, uuid) is
  'Admins see day by day (UTC, both ends included) how sessions ended and how many were delayed; days without any are left out. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.get_daily_outcomes(date, date, uuid), public.get_daily_outcomes(date, date, uuid) to authenticated;

-- Realtime -------------------------------------------------------------------------------------------

create function private.broadcast_session(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform realtime.send(
    jsonb_build_object('event', p_event.event_type, 'session_id', p_event.aggregate_id,
                       'status', p_event.payload -> 'status', 'version', p_event.payload -> 'version'),
    'session_changed', 'user:' || person, true)
    from unnest(array[p_event.payload ->> 'tutor_id', p_event.payload ->> 'student_id']) as person
   where person is not null;
end;
$$;
comment on function private.broadcast_session(private.outbox_events) is
  'Reaction, where Supabase Realtime is there: tells both people''s private channels, user:<person>, that a session changed.';

do $$
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
    create policy "People hear of their own sessions" on realtime.messages
      for select to authenticated
      using (extension = 'broadcast' and (select realtime.topic()) = 'user:' || (select private.caller_id())::text);
    insert into private.reactions (name, event_types, function_name)
    select 'realtime', array_agg(name order by name), 'broadcast_session'
      from private.event_types where name like 'session.%' and name <> 'session.added';
  end if;
exception when insufficient_privilege then
  raise notice 'Realtime stays off: % (the policy must be made by the owner of realtime.messages)', sqlerrm;
end;
$$;
