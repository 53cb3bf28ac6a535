-- 23. Consent
--
-- A wish to cancel a lesson is put to the student's guardian. A reaction writes the question as a message; with it goes
-- a token (`private.new_consent_token`), the guardian's only proof of being who was asked, kept as a hash and good for
-- 60 days. Once a provider has taken the message, the time runs (`private.start_consent_timer`, consent_hours); when
-- it turns out not to have arrived it stops, and admins are told (`private.note_consent_unasked`). Then, once:
--
--   approve    → approved, the session is cancelled        keep → rejected, the session stays
--   reschedule → reschedule_requested, and a wish for another time in the student's name, the session stays
--   call       → call_requested: no time runs any more, an admin decides
--   silence    → auto_approved, the session is cancelled by the clock (`auto_approve_cancellations`)
--
-- An answer comes from the page behind the link (`answer_consent`) or as a message (`answer_consent_messages`), never by
-- a phone's number. Whoever decides holds the session, then the request: one decision always. When the time is over it
-- is over, whether the clock has been by or not; a late answer is told the truth. Sending is the messages' chapter's.

-- Tokens ---------------------------------------------------------------------------------------------

create table private.consent_tokens (
  token_hash bytea primary key,
  cancellation_request_id uuid not null references public.cancellation_requests (id),
  created_at timestamptz not null default now()
);
comment on table private.consent_tokens is 'Who holds such a token may answer for the guardian; one for each time that the question was sent.';
comment on column private.consent_tokens.token_hash is 'SHA-256 of the token. It is random enough that a hash without salt gives nothing away.';
comment on column private.consent_tokens.created_at is 'By the real clock, which decides how long a secret is good for.';
create index consent_tokens_request on private.consent_tokens (cancellation_request_id);
create index consent_tokens_age on private.consent_tokens (created_at);
alter table private.consent_tokens enable row level security;

create function private.consent_tokens_good_since() returns timestamptz
language sql stable
set search_path = '' set timezone = 'UTC'
return now() - interval '60 days';
comment on function private.consent_tokens_good_since() is 'A token made before is good for nothing any more.';

create function private.new_consent_token(p_request_id uuid) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_token text := private.new_token();
begin
  insert into private.consent_tokens (token_hash, cancellation_request_id)
  values (private.token_hash(v_token), p_request_id);
  return v_token;
end;
$$;
comment on function private.new_consent_token(uuid) is 'Another token for the question; its text is nowhere but in the answer.';

create function private.consent_of_token(p_token text) returns uuid
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select r.id
    from private.consent_tokens t join public.cancellation_requests r on r.id = t.cancellation_request_id
   where t.token_hash = private.token_hash(p_token)
     and t.created_at >= private.consent_tokens_good_since()
     and r.asked_guardian_id is not null
$$;
comment on function private.consent_of_token(text) is
  'The request that a token is for; null for an unknown token, an old one, and when the guardian is gone.';

-- Asking ---------------------------------------------------------------------------------------------

create function private.silence_cancels(p_session public.sessions, p_expires_at timestamptz) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
return p_session.status = 'rescheduled' or p_expires_at < p_session.scheduled_start_utc;
comment on function private.silence_cancels(public.sessions, timestamptz) is
  'Whether silence until then cancels a session, or the session begins before.';

create function private.ask_guardian(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.cancellation_requests;
  v_session public.sessions;
  v_hours integer := (select consent_hours from public.settings);
begin
  select * into v_request from public.cancellation_requests where id = (p_event.payload ->> 'request_id')::uuid;
  if v_request.status <> 'pending' or v_request.asked_guardian_id is null then
    return;
  end if;
  select * into v_session from public.sessions where id = v_request.session_id;
  perform private.write_message(
    'P26_cancellation_request', null, v_request.asked_guardian_id, v_request.session_id,
    jsonb_build_object(
      'reason', v_request.reason, 'asked_by', v_request.requested_by_role, 'consent_hours', v_hours,
      'silence_cancels', private.silence_cancels(v_session, private.now() + make_interval(hours => v_hours))),
    p_cancellation_request_id => v_request.id, p_event_id => p_event.id,
    p_expires_at => case when v_session.status = 'scheduled' then v_session.scheduled_start_utc end);
end;
$$;
comment on function private.ask_guardian(private.outbox_events) is
  'Reaction: puts a wish to cancel to the guardian who is to be asked, while it is open.';
insert into private.reactions (name, event_types, function_name) values
  ('consent', array['cancellation.requested'], 'ask_guardian');
insert into private.notices (event_type, reader, template) values
  ('cancellation.unasked', 'admins', 'cancellation_to_decide');

create function private.hold_consents(p_request_ids uuid[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform from public.sessions
    where id in (select session_id from public.cancellation_requests where id = any (p_request_ids))
    order by id for update;
  perform from public.cancellation_requests where id = any (p_request_ids) order by session_id, id for no key update;
end;
$$;
comment on function private.hold_consents(uuid[]) is
  'Locks what deciding these requests takes, sessions first. Whoever holds messages about them asks for this before.';

create function private.start_consent_timer(p_request_id uuid) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.hold_consents(array[p_request_id]);
  update public.cancellation_requests
     set asked_at = private.now(), unasked_reason = null,
         expires_at = private.now() + (select make_interval(hours => consent_hours) from public.settings)
   where id = p_request_id and status = 'pending' and asked_at is null and asked_guardian_id is not null;
end;
$$;
comment on function private.start_consent_timer(uuid) is
  'A provider has taken the question: from now on the guardian has consent_hours. Once; nothing for a request that is decided.';

create function private.note_consent_unasked(p_request_id uuid, p_why text) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.hold_consents(array[p_request_id]);
  update public.cancellation_requests
     set asked_at = null, expires_at = null, unasked_reason = p_why
   where id = p_request_id and status = 'pending';
end;
$$;
comment on function private.note_consent_unasked(uuid, text) is
  'The question did not arrive, or may not have: no time runs, and an event tells that an admin decides. p_why is one word.';

-- Deciding -------------------------------------------------------------------------------------------

create function private.take_silence_for_consent(p_request_id uuid) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.cancellation_requests;
  v_session public.sessions;
begin
  perform private.hold_consents(array[p_request_id]);
  select * into v_request from public.cancellation_requests where id = p_request_id;
  select * into v_session from public.sessions where id = v_request.session_id;
  if v_request.expires_at is null or v_request.expires_at > private.now()
     or private.step_refusal(v_session, 'cancelled', 'clock', v_request.reason) is not null then
    return false;
  end if;
  perform private.act_as('clock');
  update public.cancellation_requests set status = 'auto_approved', decided_at = private.now() where id = p_request_id;
  perform private.take_step(v_request.session_id, 'cancelled', null, 'clock', p_reason => v_request.reason);
  perform private.act_as(null);
  return true;
end;
$$;
comment on function private.take_silence_for_consent(uuid) is
  'Cancels the session when the time is over and nobody has answered; false when it is not so, or when the session has begun.';

create function private.decide_consent(p_request_id uuid, p_answer text) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.cancellation_requests;
  v_session public.sessions;
  v_to public.cancellation_status;
begin
  perform private.hold_consents(array[p_request_id]);
  perform private.take_silence_for_consent(p_request_id);
  select * into v_request from public.cancellation_requests where id = p_request_id;
  select * into v_session from public.sessions where id = v_request.session_id;
  v_to := private.status_by_answer(v_session, p_answer);
  if v_request.status = v_to or (v_request.status, v_to) = ('auto_approved', 'approved') then
    return 'already';
  end if;
  if v_request.status <> 'pending'
     or private.step_refusal(v_session, 'cancelled', 'guardian', v_request.reason) is not null then
    return 'too_late';
  end if;
  perform private.act_as('guardian');
  update public.cancellation_requests
     set status = v_to, answered_by_guardian_id = asked_guardian_id,
         decided_at = case when v_to <> 'call_requested' then private.now() end
   where id = p_request_id;
  if v_to = 'approved' then
    perform private.take_step(v_request.session_id, 'cancelled', null, 'guardian', p_reason => v_request.reason);
  elsif v_to = 'reschedule_requested' then
    insert into public.reschedule_requests (session_id, proposed_starts_utc, reason, requested_by_user_id, requested_by_role)
    values (v_request.session_id, '{}', v_request.reason, v_session.student_user_id, 'guardian')
    on conflict (session_id, requested_by_user_id, requested_by_role) where status = 'pending' do nothing;
  end if;
  perform private.act_as(null);
  return 'decided';
end;
$$;
comment on function private.decide_consent(uuid, text) is
  'One answer of a guardian: decided; already, when it is so anyway; too_late, when it is not and cannot be any more.';

create function private.may_be_rescheduled(p_session public.sessions) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
return private.step_refusal(p_session, 'scheduled', 'student', null, p_at_new_time => true, p_is_wish => true) is null;

create function private.status_by_answer(p_session public.sessions, p_answer text) returns public.cancellation_status
language sql stable
set search_path = '' set timezone = 'UTC'
return case p_answer
  when 'approve' then 'approved'::public.cancellation_status
  when 'keep' then 'rejected'
  when 'reschedule' then case when private.may_be_rescheduled(p_session) then 'reschedule_requested' else 'call_requested' end::public.cancellation_status
  when 'call' then 'call_requested' end;
comment on function private.status_by_answer(public.sessions, text) is
  'What an answer makes of a request. The times of a booking never change: who wants another is called by an admin.';

-- Through the link -----------------------------------------------------------------------------------

create function private.consent_document(p_request_id uuid) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
    select jsonb_build_object(
             'status', w.status,
             'answer_open', open.is_open,
             'answers', case when not open.is_open then '[]'
               when private.may_be_rescheduled(s) then '["approve", "reschedule", "call", "keep"]'
               else '["approve", "call", "keep"]' end::jsonb,
             'guardian_name', g.name, 'language', coalesce(g.language, h.language), 'timezone', g.timezone,
             'student_name', u.display_name, 'student_timezone', u.timezone,
             'tutor_name', t.display_name, 'tutor_timezone', t.timezone,
             'subject', coalesce(r.subject, l.title),
             'scheduled_start_utc', s.scheduled_start_utc, 'scheduled_end_utc', s.scheduled_end_utc,
             'session_status', s.status,
             'reason', w.reason, 'asked_by', w.requested_by_role,
             'expires_at', w.expires_at,
             'silence_cancels', coalesce(private.silence_cancels(s, w.expires_at), false),
             'decided', case when w.decided_at is not null then
               jsonb_build_object('status', w.status, 'at', w.decided_at) end)
      from public.cancellation_requests w
      join public.guardians g on g.id = w.asked_guardian_id
      join public.sessions s on s.id = w.session_id
      join public.profiles t on t.id = s.tutor_user_id
      join public.profiles u on u.id = s.student_user_id
     cross join public.settings h
     cross join lateral (
       select w.status = 'pending' and coalesce(w.expires_at > private.now(), true)
              and private.step_refusal(s, 'cancelled', 'guardian', w.reason) is null) as open (is_open)
      left join public.matches m on m.id = s.match_id
      left join public.requests r on r.id = m.request_id
      left join public.bookings b on b.id = s.booking_id
      left join public.listings l on l.id = b.listing_id
     where w.id = p_request_id);
end;
$$;
comment on function private.consent_document(uuid) is 'What a guardian is shown of the request, and what they may answer.';

create function private.require_consent(p_token text) returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request_id uuid := private.consent_of_token(p_token);
begin
  if v_request_id is null then
    perform private.refuse(404, 'not_found', 'There is no such question.');
  end if;
  return v_request_id;
end;
$$;
comment on function private.require_consent(text) is 'The request that a token is for, or a refusal: 404, the same for an unknown token and an old one.';

create function private.read_consent(p_token text) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.consent_document(private.require_consent(p_token));
end;
$$;

create function public.read_consent(p_token text) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.read_consent(p_token);
comment on function public.read_consent(text) is
  'For the service key: the question behind a guardian''s link, or what became of it; decides nothing. Refuses: 404 (also an old token).';
grant execute on function private.read_consent(text), public.read_consent(text) to service_role;

create function private.answer_consent(p_token text, p_answer text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request_id uuid := private.require_consent(p_token);
  v_outcome text;
begin
  if p_answer is null or p_answer not in ('approve', 'keep', 'reschedule', 'call') then
    perform private.refuse(422, 'invalid', 'answer is approve, keep, reschedule or call.', '{"field": "answer"}');
  end if;
  v_outcome := private.decide_consent(v_request_id, p_answer);
  return private.consent_document(v_request_id) || jsonb_build_object('outcome', v_outcome);
end;
$$;

create function public.answer_consent(p_token text, p_answer text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.answer_consent(p_token, p_answer);
comment on function public.answer_consent(text, text) is
  'For the service key: a guardian answers through the link: approve, keep, reschedule or call. Answers what the link shows, with the outcome: decided, already, or too_late. Refuses: 404 (also an old token), 422 invalid.';
grant execute on function private.answer_consent(text, text), public.answer_consent(text, text) to service_role;

-- As a message ---------------------------------------------------------------------------------------

create table private.provider_events (
  provider text not null,
  provider_event_id text not null,
  seen_at timestamptz not null default private.now(),
  primary key (provider, provider_event_id)
);
comment on table private.provider_events is 'What providers of messages have told us, so that the same again changes nothing. Forgotten after 30 days.';
create index provider_events_age on private.provider_events (seen_at);
alter table private.provider_events enable row level security;

create type private.consent_message as (
  provider text, provider_event_id text, token text, replied_to text, answer text);

create function private.consent_of_message(p_message private.consent_message) returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_by_token uuid := private.consent_of_token(p_message.token);
  v_by_reply uuid := (
    select r.id
      from public.messages m join public.cancellation_requests r on r.id = m.cancellation_request_id
     where m.provider = p_message.provider
       and (m.provider_message_id = p_message.replied_to or m.provider_reply_id = p_message.replied_to)
       and m.template = 'P26_cancellation_request' and m.reader_guardian_id = r.asked_guardian_id
     order by m.created_at desc limit 1);
begin
  return case
    when p_message.token is null then v_by_reply
    -- Who names a token must have the right one, and not under the question about another lesson.
    when v_by_reply is null or v_by_reply = v_by_token then v_by_token end;
end;
$$;
comment on function private.consent_of_message(private.consent_message) is
  'The request that an answer is about, by its token or by the message that it replies to; null when neither tells.';

create function private.take_consent_message(p_message private.consent_message) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request_id uuid := private.consent_of_message(p_message);
  v_outcome text;
begin
  if v_request_id is null then
    return 'unknown';
  end if;
  v_outcome := private.decide_consent(v_request_id, p_message.answer);
  if v_outcome = 'too_late' and not exists (
       select from public.messages where cancellation_request_id = v_request_id and template = 'consent_reply') then
    perform private.write_message(
      'consent_reply', null, r.asked_guardian_id, r.session_id, jsonb_build_object('outcome', v_outcome, 'status', r.status),
      p_cancellation_request_id => r.id)
      from public.cancellation_requests r where r.id = v_request_id;
  end if;
  return v_outcome;
exception when others then
  return 'failed';
end;
$$;
comment on function private.take_consent_message(private.consent_message) is
  'One answer that came as a message: decided, already, too_late (said once, by a message), unknown, or failed and undone.';

create function private.answer_consent_messages(p_answers jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_messages private.consent_message[];
  v_message private.consent_message;
  v_number integer;
  v_new text[];
  v_outcome text;
  v_outcomes text[];
begin
  if jsonb_typeof(p_answers) = 'array' then
    v_messages := array(select jsonb_populate_record(null::private.consent_message, each.answer)
                          from jsonb_array_elements(p_answers) with ordinality as each (answer, position)
                         where jsonb_typeof(each.answer) = 'object' order by each.position);
  end if;
  if v_messages is null or cardinality(v_messages) <> jsonb_array_length(p_answers) or cardinality(v_messages) > 500
     or exists (select from unnest(v_messages) m where m.provider is null or m.provider_event_id is null) then
    perform private.refuse(422, 'invalid', 'Every answer needs a provider and a provider_event_id; at most 500 at a time.',
                           '{"field": "answers"}');
  end if;
  -- All at once and in order, so that two deliveries of the same wait for each other and never in a circle.
  perform private.hold_consents(array(select private.consent_of_message(m) from unnest(v_messages) m));
  with new as (
    insert into private.provider_events (provider, provider_event_id)
    select distinct m.provider, m.provider_event_id from unnest(v_messages) m order by 1, 2
    on conflict do nothing
    returning jsonb_build_array(provider, provider_event_id)::text as told)
  select array_agg(told) into v_new from new;
  -- Also in the order of sessions: what hangs on one, such as its place in a calendar, is locked with it.
  for v_number in
    select n from generate_subscripts(v_messages, 1) as n
     order by (select session_id from public.cancellation_requests where id = private.consent_of_message(v_messages[n])), n
  loop
    v_message := v_messages[v_number];
    v_outcome := case
      when jsonb_build_array(v_message.provider, v_message.provider_event_id)::text <> all (coalesce(v_new, '{}')) then 'ignored'
      when v_message.answer is null or v_message.answer not in ('approve', 'keep', 'reschedule', 'call') then 'ignored'
      else private.take_consent_message(v_message) end;
    v_new := array_remove(v_new, jsonb_build_array(v_message.provider, v_message.provider_event_id)::text);
    if v_outcome = 'failed' then
      delete from private.provider_events
       where provider = v_message.provider and provider_event_id = v_message.provider_event_id;
    end if;
    v_outcomes[v_number] := v_outcome;
  end loop;
  return jsonb_build_object('results', (
    select coalesce(jsonb_agg(jsonb_build_object('outcome', told.outcome) order by told.number), '[]')
      from unnest(v_outcomes) with ordinality as told (outcome, number)));
end;
$$;

create function public.answer_consent_messages(p_answers jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.answer_consent_messages(p_answers);
comment on function public.answer_consent_messages(jsonb) is
  'For the service key: answers that came as messages: [{"provider", "provider_event_id", "token", "replied_to", "answer"}], each for itself. One outcome each: decided, already, too_late, unknown, ignored (seen before, or no answer), failed (tell it again). Refuses: 422 invalid.';
grant execute on function private.answer_consent_messages(jsonb), public.answer_consent_messages(jsonb) to service_role;

-- Silence --------------------------------------------------------------------------------------------

create table private.consent_failures (
  cancellation_request_id uuid primary key references public.cancellation_requests (id),
  failures integer not null default 1,
  retry_at timestamptz not null default private.now() + interval '1 minute',
  sqlstate text not null
);
comment on table private.consent_failures is 'Requests whose time is over and that the clock could not approve, and when it tries again.';
alter table private.consent_failures enable row level security;

create function private.auto_approve(p_request_id uuid) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_state text;
begin
  return case when private.take_silence_for_consent(p_request_id) then 'approved' else 'settled' end;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate;
  insert into private.consent_failures as f (cancellation_request_id, sqlstate) values (p_request_id, v_state)
  on conflict (cancellation_request_id) do update
    set failures = f.failures + 1, sqlstate = excluded.sqlstate,
        retry_at = private.now() + least(interval '1 day', interval '1 minute' * power(2, least(f.failures, 11)));
  return 'failed';
end;
$$;
comment on function private.auto_approve(uuid) is
  'Approves one request whose time is over; settled: somebody else was first; failed: undone, and noted for later.';

create function private.auto_approve_cancellations(p_limit integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_ids uuid[];
  v_id uuid;
  v_outcome text;
  v_approved integer := 0;
  v_failed integer := 0;
begin
  if p_limit is null or p_limit not between 1 and 5000 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 5000.', jsonb_build_object('field', 'limit'));
  end if;
  -- A lesson that has begun is left alone, also while no sweep has been by.
  with due as (
    select r.id, r.session_id from public.cancellation_requests r join public.sessions s on s.id = r.session_id
     where r.expires_at <= v_now
       and private.step_refusal(s, 'cancelled', 'clock', r.reason) is null
       and not exists (select from private.consent_failures f where f.cancellation_request_id = r.id and f.retry_at > v_now)
     order by r.expires_at, r.id limit p_limit for update of s skip locked
  )
  select array_agg(id order by session_id) into v_ids from due;
  foreach v_id in array coalesce(v_ids, '{}') loop
    v_outcome := private.auto_approve(v_id);
    v_approved := v_approved + (v_outcome = 'approved')::integer;
    v_failed := v_failed + (v_outcome = 'failed')::integer;
  end loop;
  delete from private.consent_failures where cancellation_request_id in (
    select f.cancellation_request_id
      from private.consent_failures f join public.cancellation_requests r on r.id = f.cancellation_request_id
     where r.expires_at is null for update of f skip locked);
  return jsonb_build_object(
    'approved', v_approved, 'failed', v_failed, 'more', coalesce(cardinality(v_ids), 0) >= p_limit);
end;
$$;

create function public.auto_approve_cancellations(p_limit integer default 500) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.auto_approve_cancellations(p_limit);
comment on function public.auto_approve_cancellations(integer) is
  'The scheduler takes the silence of guardians for consent, whose time is over; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.auto_approve_cancellations(integer), public.auto_approve_cancellations(integer) to service_role;
