-- 15. Cancellations
--
-- An admin cancels at once, with a reason (`cancel_session`): the time is free again and no credit is taken.
-- Its tutor or student asks (`request_cancellation`; one open request for a session). Then
--
--   pending → approved, rejected (an admin, or the student's guardian), withdrawn (who asked)
--           → lapsed, by a trigger, when the session is moved, parked, begun, resolved or cancelled otherwise.
--
-- Approving is cancelling, with the request's reason. The request notes who is to be asked: the student's primary
-- guardian, where they can be reached by WhatsApp. How they are asked, what else they may answer, and the clock that
-- takes their silence for consent, are left to the chapter on consent; where nobody can be asked, an admin decides.

create type public.cancellation_status as enum (
  'pending', 'approved', 'auto_approved', 'rejected', 'reschedule_requested', 'call_requested', 'withdrawn', 'lapsed');
comment on type public.cancellation_status is
  'What became of a wish to cancel; pending and call_requested are open, lapsed means the session changed before anybody decided.';

create table public.cancellation_requests (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.sessions (id),
  status public.cancellation_status not null default 'pending',
  reason text not null,
  requested_by_user_id uuid not null references public.profiles (id),
  requested_by_role public.actor_role not null,
  decided_by_user_id uuid references public.profiles (id),
  decided_at timestamptz,
  decision_reason text,
  asked_guardian_id uuid references public.guardians (id) on delete set null,
  asked_at timestamptz,
  expires_at timestamptz,
  unasked_reason text,
  answered_by_guardian_id uuid references public.guardians (id) on delete set null,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint cancellation_requests_wait_for_an_answer check (
    expires_at is null or (status = 'pending' and num_nonnulls(asked_guardian_id, asked_at) = 2)),
  constraint cancellation_requests_unasked_is_a_word check (unasked_reason ~ '^[a-z_]{1,40}$'),
  constraint cancellation_requests_reason_is_bounded check (char_length(reason) between 1 and 1000),
  constraint cancellation_requests_decision_is_bounded check (char_length(decision_reason) <= 1000),
  constraint cancellation_requests_are_decided_once check ((status in ('pending', 'call_requested')) = (decided_at is null))
);
comment on table public.cancellation_requests is 'Wishes of tutors and students to cancel a session.';
comment on column public.cancellation_requests.requested_by_role is 'On which side of the session they are.';
comment on column public.cancellation_requests.decided_at is 'When it was decided, or lapsed; empty while it is open.';
comment on column public.cancellation_requests.decided_by_user_id is 'Who decided; empty when a guardian did, or the clock, or when it lapsed.';
comment on column public.cancellation_requests.asked_guardian_id is 'The guardian who is asked; empty when there is none whom WhatsApp reaches.';
comment on column public.cancellation_requests.asked_at is 'When a provider took the question; empty until then, and again when it turns out not to have arrived.';
comment on column public.cancellation_requests.expires_at is 'When silence becomes consent; empty while no time runs.';
comment on column public.cancellation_requests.unasked_reason is 'Why the guardian could not be asked, in one word; an admin decides.';
comment on column public.cancellation_requests.answered_by_guardian_id is 'The guardian who answered, whatever the answer.';
comment on column public.cancellation_requests.decision_reason is 'What the admin says about it.';
create unique index cancellation_requests_one_open on public.cancellation_requests (session_id)
  where status in ('pending', 'call_requested');
create index cancellation_requests_session on public.cancellation_requests (session_id);
create index cancellation_requests_requested_by on public.cancellation_requests (requested_by_user_id, created_at, id);
create index cancellation_requests_decided_by on public.cancellation_requests (decided_by_user_id) where decided_by_user_id is not null;
create index cancellation_requests_asked_guardian on public.cancellation_requests (asked_guardian_id) where asked_guardian_id is not null;
create index cancellation_requests_answered_by on public.cancellation_requests (answered_by_guardian_id) where answered_by_guardian_id is not null;
create index cancellation_requests_due on public.cancellation_requests (expires_at, id) where expires_at is not null;
create index cancellation_requests_age on public.cancellation_requests (created_at, id);
create trigger cancellation_requests_touch before update on public.cancellation_requests
  for each row execute function private.touch();
create trigger cancellation_requests_audit after insert or update on public.cancellation_requests
  for each row execute function private.audit_change('cancellation_request');
create trigger cancellation_requests_stay before delete or truncate on public.cancellation_requests
  for each statement execute function private.refuse_change('Requests stay: reject them, or let who asked withdraw them.');
insert into private.event_types (name, description) values
  ('cancellation.requested', 'A tutor or student asks to cancel the session.'),
  ('cancellation.unasked', 'No guardian can be asked; an admin decides.'),
  ('cancellation.approved', 'An admin or the guardian has cancelled the session as was asked.'),
  ('cancellation.auto_approved', 'The guardian did not answer in time, and the session is cancelled.'),
  ('cancellation.rejected', 'An admin or the guardian keeps the session.'),
  ('cancellation.reschedule_requested', 'The guardian would rather have another time.'),
  ('cancellation.call_requested', 'The guardian would like a call; an admin decides.'),
  ('cancellation.withdrawn', 'Who asked to cancel has taken the wish back.'),
  ('cancellation.lapsed', 'The session changed before anybody decided about cancelling.');
create trigger cancellation_requests_record after insert or update on public.cancellation_requests
  for each row execute function private.record_wish('cancellation');

create function private.record_unasked() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.record_event('cancellation.unasked', 'session', new.session_id,
    jsonb_build_object('request_id', new.id, 'session_id', new.session_id, 'why', new.unasked_reason), private.now());
  return null;
end;
$$;
create trigger cancellation_requests_record_born_unasked after insert on public.cancellation_requests
  for each row when (new.unasked_reason is not null) execute function private.record_unasked();
create trigger cancellation_requests_record_unasked after update on public.cancellation_requests
  for each row when (new.unasked_reason is not null and new.unasked_reason is distinct from old.unasked_reason)
  execute function private.record_unasked();

create function private.stop_waiting() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  if new.status <> 'pending' or new.asked_guardian_id is null then
    new.expires_at := null;
  end if;
  return new;
end;
$$;
comment on function private.stop_waiting() is 'No time runs for a request that is decided, or that has nobody to answer it.';
create trigger cancellation_requests_stop_waiting before update on public.cancellation_requests
  for each row execute function private.stop_waiting();

create function private.lapse_cancellation_requests() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  update public.cancellation_requests r
     set status = 'lapsed', decided_at = private.now()
    from old_sessions o join new_sessions n using (id)
   where r.session_id = n.id and r.status in ('pending', 'call_requested')
     and (o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc);
  return null;
end;
$$;
create trigger sessions_lapse_cancellation_requests after update on public.sessions
  referencing old table as old_sessions new table as new_sessions
  for each statement execute function private.lapse_cancellation_requests();

alter table public.cancellation_requests enable row level security;
grant select on public.cancellation_requests to authenticated, service_role;
create policy "Who asked reads the request, admins all" on public.cancellation_requests
  for select to authenticated
  using (requested_by_user_id = (select private.caller_id()) or (select private.is_admin()));

create function private.cancel_session(p_session_id uuid, p_reason text, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'cancelled');
begin
  return private.take_step(p_session_id, 'cancelled', v_caller_id, v_role, p_reason => p_reason, p_expected_version => p_expected_version);
end;
$$;

create function public.cancel_session(p_session_id uuid, p_reason text, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.cancel_session(p_session_id, p_reason, p_expected_version);
comment on function public.cancel_session(uuid, text, integer) is
  'Admins cancel a session at once; its time is free again, and a credit that was taken goes back. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, stale_version, 422 reason_required.';
grant execute on function private.cancel_session(uuid, text, integer), public.cancel_session(uuid, text, integer) to authenticated;

create function private.cancellation_history(p_request_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object('step', told.step, 'by_role', a.actor_role, 'at', a.created_at) order by a.id), '[]')
    from public.audit_logs a
   cross join lateral (select case
     when a.action = 'cancellation_request_created' then 'requested'
     when a.details ? 'status' then a.details -> 'status' ->> 'to'
     when a.details -> 'unasked_reason' ->> 'to' is not null then 'guardian_not_asked'
     when a.details -> 'asked_at' ->> 'to' is not null then 'guardian_asked' end) as told (step)
   where a.entity_type = 'cancellation_request' and a.entity_id = p_request_id and told.step is not null
$$;
comment on function private.cancellation_history(uuid) is
  'What became of a wish, step by step, from the audit: what, in which capacity, when; names nobody.';

create function private.cancellation_request_document(p_request public.cancellation_requests, p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'id', p_request.id, 'status', p_request.status, 'reason', p_request.reason,
           'requested_by', private.person_card(asker), 'requested_by_role', p_request.requested_by_role,
           'asks_guardian', p_request.asked_guardian_id is not null, 'asked_at', p_request.asked_at,
           'expires_at', p_request.expires_at, 'unasked_reason', p_request.unasked_reason,
           'answered_by_guardian', p_request.answered_by_guardian_id is not null,
           'decided_at', p_request.decided_at, 'decision_reason', p_request.decision_reason,
           'history', private.cancellation_history(p_request.id),
           'session', private.session_documents(array[p_request.session_id], p_caller_id) -> 0,
           'created_at', p_request.created_at)
    from public.profiles asker where asker.id = p_request.requested_by_user_id
$$;

create function private.cancellation_request_answer(p_request_id uuid, p_caller_id uuid, p_changed boolean) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'request', private.cancellation_request_document(r, p_caller_id), 'changed', p_changed,
           'viewer_timezone', (select timezone from public.profiles where id = p_caller_id))
    from public.cancellation_requests r where r.id = p_request_id
$$;

create function private.cancellation_wish_refusal(p_session public.sessions, p_caller_id uuid, p_role public.actor_role) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_open public.cancellation_requests;
begin
  select * into v_open from public.cancellation_requests
   where session_id = p_session.id and status in ('pending', 'call_requested');
  return case
    when v_open.requested_by_user_id = p_caller_id then private.refusal(200, 'already_so', 'It is so already.')
    when v_open.id is not null then private.refusal(409, 'already_requested', 'The other side has asked to cancel it already.')
    else private.step_refusal(p_session, 'cancelled', p_role, null, p_is_wish => true) end;
end;
$$;
comment on function private.cancellation_wish_refusal(public.sessions, uuid, public.actor_role) is
  'Why somebody may not ask to cancel a session now, or null; whoever has asked is told that it is so already. 409 already_requested, illegal_transition, too_late.';

create function private.guardian_to_ask(p_student_id uuid) returns uuid
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select id from public.guardians
   where student_user_id = p_student_id and is_primary and whatsapp_opt_in and phone is not null
$$;
comment on function private.guardian_to_ask(uuid) is 'The primary guardian of a student, where WhatsApp reaches them.';

create function private.request_cancellation(p_session_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'cancelled', p_is_wish => true);
  v_session public.sessions;
  v_refusal jsonb;
  v_guardian_id uuid;
  v_request_id uuid;
begin
  select * into v_session from public.sessions where id = p_session_id for update;
  v_refusal := private.cancellation_wish_refusal(v_session, v_caller_id, v_role);
  if v_refusal ->> 'code' = 'already_so' then
    select id into v_request_id from public.cancellation_requests
     where session_id = p_session_id and status in ('pending', 'call_requested');
    return private.cancellation_request_answer(v_request_id, v_caller_id, false);
  end if;
  perform private.refuse_if(v_refusal);
  if btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say why.', '{"field": "reason"}');
  end if;
  perform private.limit_calls('request_cancellation', 20, interval '1 hour');
  v_guardian_id := private.guardian_to_ask(v_session.student_user_id);
  insert into public.cancellation_requests (
    session_id, reason, requested_by_user_id, requested_by_role, asked_guardian_id, unasked_reason)
  values (p_session_id, btrim(p_reason), v_caller_id, v_role, v_guardian_id,
          case when v_guardian_id is null then 'no_guardian' end)
  returning id into v_request_id;
  return private.cancellation_request_answer(v_request_id, v_caller_id, true);
exception when check_violation then
  perform private.refuse(422, 'invalid', 'reason must have at most 1000 characters.', '{"field": "reason"}');
end;
$$;

create function public.request_cancellation(p_session_id uuid, p_reason text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.request_cancellation(p_session_id, p_reason);
comment on function public.request_cancellation(uuid, text) is
  'Its tutor or student asks to cancel a session that has not begun; the student''s guardian decides, or an admin. Refuses: 401, 403 not_allowed, 404, 409 already_requested, illegal_transition, too_late, 422 reason_required, invalid, 429 too_many_requests.';
grant execute on function private.request_cancellation(uuid, text), public.request_cancellation(uuid, text) to authenticated;

create function private.list_cancellation_requests(
  p_status public.cancellation_status, p_session_id uuid, p_after_created timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_is_admin boolean := private.has_role(v_caller_id, 'admin');
  v_limit integer := coalesce(p_limit, 50);
begin
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  return (
    with page as (
      select r from public.cancellation_requests r
       where (v_is_admin or r.requested_by_user_id = v_caller_id)
         and (p_status is null or r.status = p_status)
         and (p_session_id is null or r.session_id = p_session_id)
         and (p_after_id is null or (r.created_at, r.id) > (p_after_created, p_after_id))
       order by r.created_at, r.id limit v_limit + 1
    )
    select jsonb_build_object(
      'requests', (select coalesce(jsonb_agg(private.cancellation_request_document(shown.r, v_caller_id)
                                             order by (shown.r).created_at, (shown.r).id), '[]')
                     from (select r from page limit v_limit) as shown),
      'has_more', (select count(*) from page) > v_limit,
      'viewer_timezone', (select timezone from public.profiles where id = v_caller_id)));
end;
$$;

create function public.list_cancellation_requests(
  p_status public.cancellation_status default null, p_session_id uuid default null,
  p_after_created timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_cancellation_requests(p_status, p_session_id, p_after_created, p_after_id, p_limit);
comment on function public.list_cancellation_requests(public.cancellation_status, uuid, timestamptz, uuid, integer) is
  'The caller''s wishes to cancel (everybody''s, for admins), oldest first, a page at a time. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_cancellation_requests(public.cancellation_status, uuid, timestamptz, uuid, integer),
  public.list_cancellation_requests(public.cancellation_status, uuid, timestamptz, uuid, integer) to authenticated;

create function private.get_cancellation_request(p_request_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
begin
  perform from public.cancellation_requests
    where id = p_request_id and (requested_by_user_id = v_caller_id or private.has_role(v_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such request.');
  end if;
  return private.cancellation_request_answer(p_request_id, v_caller_id, false) - 'changed';
end;
$$;

create function public.get_cancellation_request(p_request_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_cancellation_request(p_request_id);
comment on function public.get_cancellation_request(uuid) is
  'One wish to cancel, for who asked and for admins. Refuses: 401, 403 not_allowed, 404 (also for somebody else''s).';
grant execute on function private.get_cancellation_request(uuid), public.get_cancellation_request(uuid) to authenticated;

create function private.lock_cancellation_request(p_request_id uuid, p_caller_id uuid) returns public.cancellation_requests
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.cancellation_requests;
begin
  select * into v_request from public.cancellation_requests
   where id = p_request_id and (requested_by_user_id = p_caller_id or private.has_role(p_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such request.');
  end if;
  perform from public.sessions where id = v_request.session_id for update;
  -- Weaker than for update: whoever writes a token or a message about the request need not wait.
  select * into v_request from public.cancellation_requests where id = p_request_id for no key update;
  return v_request;
end;
$$;
comment on function private.lock_cancellation_request(uuid, uuid) is
  'The request, its session locked before it. Refuses: 404 when it is not the caller''s to see.';

create function private.close_cancellation_request(
  p_request_id uuid, p_caller_id uuid, p_to public.cancellation_status, p_reason text
) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.cancellation_requests := private.lock_cancellation_request(p_request_id, p_caller_id);
begin
  if p_to = 'withdrawn' and v_request.requested_by_user_id <> p_caller_id then
    perform private.refuse(403, 'not_allowed', 'Only who asked may withdraw a request.');
  end if;
  if v_request.status = p_to then
    return private.cancellation_request_answer(p_request_id, p_caller_id, false);
  end if;
  if v_request.status not in ('pending', 'call_requested') then
    perform private.refuse_decided(v_request.status::text);
  end if;
  update public.cancellation_requests
     set status = p_to, decided_by_user_id = p_caller_id, decided_at = private.now(), decision_reason = nullif(btrim(p_reason), '')
   where id = p_request_id;
  if p_to = 'approved' then
    perform private.take_step(v_request.session_id, 'cancelled', p_caller_id, 'admin', p_reason => v_request.reason);
  end if;
  return private.cancellation_request_answer(p_request_id, p_caller_id, true);
end;
$$;
comment on function private.close_cancellation_request(uuid, uuid, public.cancellation_status, text) is
  'Ends a wish: approved, which cancels the session; rejected; or withdrawn by who asked. Refuses: 403 not_allowed, 404, 409 already_decided.';

create function private.approve_cancellation(p_request_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.close_cancellation_request(p_request_id, private.require_admin(), 'approved', p_reason);
end;
$$;

create function public.approve_cancellation(p_request_id uuid, p_reason text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.approve_cancellation(p_request_id, p_reason);
comment on function public.approve_cancellation(uuid, text) is
  'Admins cancel the session as was asked. Refuses: 401, 403 not_allowed, 404, 409 already_decided.';
grant execute on function private.approve_cancellation(uuid, text), public.approve_cancellation(uuid, text) to authenticated;

create function private.reject_cancellation(p_request_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.close_cancellation_request(p_request_id, private.require_admin(), 'rejected', p_reason);
end;
$$;

create function public.reject_cancellation(p_request_id uuid, p_reason text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.reject_cancellation(p_request_id, p_reason);
comment on function public.reject_cancellation(uuid, text) is
  'Admins keep the session. Refuses: 401, 403 not_allowed, 404, 409 already_decided.';
grant execute on function private.reject_cancellation(uuid, text), public.reject_cancellation(uuid, text) to authenticated;

create function private.withdraw_cancellation(p_request_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.close_cancellation_request(p_request_id, private.require_caller(), 'withdrawn', null);
end;
$$;

create function public.withdraw_cancellation(p_request_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.withdraw_cancellation(p_request_id);
comment on function public.withdraw_cancellation(uuid) is
  'Who asked to cancel takes the wish back. Refuses: 401, 403 not_allowed, 404, 409 already_decided.';
grant execute on function private.withdraw_cancellation(uuid), public.withdraw_cancellation(uuid) to authenticated;
