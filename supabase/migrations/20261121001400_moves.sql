-- 14. Moves
--
-- A session gets another time. `reschedule_session` moves one, or brings a parked one back: an admin's, and the
-- tutor's where the policy lets them. It keeps the length, refuses the past and the times at which either person
-- has another live session; the sessions chapter writes the history. (Parking is a status: tutor_update_session.)
--
-- Whoever may not move may ask: `request_reschedule` files a wish with up to three times, an admin accepts one
-- (`accept_reschedule_request`) or rejects; who asked may withdraw it. A wish ends by itself when the session
-- changes otherwise: a trigger lets it lapse, unless the session was only parked.
--
-- `reschedule_series` moves what is open of a package, one session, that and the following, or all, onto the
-- dates of a weekly pattern. Like generation it takes two trips (`series_inputs`, then the write that checks
-- the fingerprint), because local times become instants in Python alone; all are checked before any is moved.
-- Cancelling is left to the next chapter.

create function private.is_lesson_time(p_start_utc timestamptz) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return coalesce(p_start_utc >= timestamptz '2000-01-01 00:00+00' and p_start_utc < timestamptz '2101-01-01 00:00+00', false);
comment on function private.is_lesson_time(timestamptz) is
  'Whether a session may begin then at all; false of null and infinity. A time that passes leaves room for its length.';

create function private.move_step(
  p_session_id uuid, p_start_utc timestamptz, p_caller_id uuid, p_role public.actor_role, p_reason text,
  p_expected_version integer default null
) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
begin
  if not private.is_lesson_time(p_start_utc) then
    perform private.refuse(422, 'invalid', 'start_utc must lie between the years 2000 and 2100.', '{"field": "start_utc"}');
  end if;
  select * into v_session from public.sessions where id = p_session_id;
  perform private.lock_people(v_session.tutor_user_id, v_session.student_user_id);
  select * into v_session from public.sessions where id = p_session_id for update;

  if v_session.status = 'scheduled' and v_session.scheduled_start_utc = p_start_utc then
    return private.session_answer(p_session_id, p_caller_id) || '{"changed": false}';
  end if;
  if p_expected_version <> v_session.version then
    perform private.refuse(409, 'stale_version', 'The session has changed since you read it.',
                           jsonb_build_object('version', v_session.version));
  end if;
  perform private.refuse_if(private.step_refusal(v_session, 'scheduled', p_role, p_reason, p_at_new_time => true));
  if p_start_utc < private.now() then
    perform private.refuse(422, 'start_in_past', 'A session cannot be moved into the past.', '{"field": "start_utc"}');
  end if;

  update public.sessions
     set scheduled_start_utc = p_start_utc,
         scheduled_end_utc = p_start_utc + (scheduled_end_utc - scheduled_start_utc),
         status = 'scheduled', status_reason = nullif(btrim(p_reason), ''),
         version = version + 1, updated_by_user_id = p_caller_id, updated_by_role = p_role
   where id = p_session_id;
  return private.session_answer(p_session_id, p_caller_id) || '{"changed": true}';
exception
  when exclusion_violation then
    perform private.refuse_slot_taken(v_session, p_start_utc, p_role);
  when check_violation then
    perform private.refuse(422, 'invalid', 'reason must have at most 1000 characters.', '{"field": "reason"}');
end;
$$;
comment on function private.move_step(uuid, timestamptz, uuid, public.actor_role, text, integer) is
  'Gives a session another time for a caller whose side is known. Refuses: 409 stale_version, illegal_transition, slot_taken, 422 reason_required, start_in_past, invalid.';

create function private.reschedule_session(
  p_session_id uuid, p_start_utc timestamptz, p_reason text, p_expected_version integer
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'scheduled', p_at_new_time => true);
begin
  return private.move_step(p_session_id, p_start_utc, v_caller_id, v_role, p_reason, p_expected_version);
end;
$$;

create function public.reschedule_session(
  p_session_id uuid, p_start_utc timestamptz, p_reason text default null, p_expected_version integer default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.reschedule_session(p_session_id, p_start_utc, p_reason, p_expected_version);
comment on function public.reschedule_session(uuid, timestamptz, text, integer) is
  'Admins give a session of a match another time, or bring a parked one back; its tutor too, where tutor_may_reschedule says so. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, slot_taken, stale_version, 422 reason_required, start_in_past, invalid.';
grant execute on function
  private.reschedule_session(uuid, timestamptz, text, integer),
  public.reschedule_session(uuid, timestamptz, text, integer) to authenticated;

-- Asking for another time ----------------------------------------------------------------------------

create type public.reschedule_status as enum ('pending', 'accepted', 'rejected', 'withdrawn', 'lapsed');
comment on type public.reschedule_status is
  'What became of a wish for another time; lapsed: the session changed before anybody decided.';

create table public.reschedule_requests (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.sessions (id),
  status public.reschedule_status not null default 'pending',
  proposed_starts_utc timestamptz[] not null,
  reason text not null,
  requested_by_user_id uuid not null references public.profiles (id),
  requested_by_role public.actor_role not null,
  accepted_start_utc timestamptz,
  decided_by_user_id uuid references public.profiles (id),
  decided_at timestamptz,
  decision_reason text,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint reschedule_requests_propose_up_to_three check (cardinality(proposed_starts_utc) <= 3),
  constraint reschedule_requests_reason_is_bounded check (char_length(reason) between 1 and 1000),
  constraint reschedule_requests_decision_is_bounded check (char_length(decision_reason) <= 1000),
  constraint reschedule_requests_are_decided_once check ((status = 'pending') = (decided_at is null)),
  constraint reschedule_requests_accept_a_time check ((status = 'accepted') = (accepted_start_utc is not null))
);
comment on table public.reschedule_requests is 'Wishes of tutors, students and their guardians for another time; an admin decides.';
comment on column public.reschedule_requests.proposed_starts_utc is 'Up to three starts that would suit; none: any time.';
comment on column public.reschedule_requests.requested_by_role is 'On which side of the session they are; guardian: the student''s guardian asked in their name.';
comment on column public.reschedule_requests.accepted_start_utc is 'The time it was moved to, once accepted.';
comment on column public.reschedule_requests.decided_at is 'When it was decided, or lapsed; empty while it is pending.';
comment on column public.reschedule_requests.decided_by_user_id is 'Who decided; empty when it lapsed.';
comment on column public.reschedule_requests.decision_reason is 'What the admin says about it.';
create unique index reschedule_requests_one_pending on public.reschedule_requests (session_id, requested_by_user_id, requested_by_role)
  where status = 'pending';
create index reschedule_requests_session on public.reschedule_requests (session_id);
create index reschedule_requests_requested_by on public.reschedule_requests (requested_by_user_id, created_at, id);
create index reschedule_requests_decided_by on public.reschedule_requests (decided_by_user_id) where decided_by_user_id is not null;
create index reschedule_requests_age on public.reschedule_requests (created_at, id);
create trigger reschedule_requests_touch before update on public.reschedule_requests
  for each row execute function private.touch();
create trigger reschedule_requests_audit after insert or update on public.reschedule_requests
  for each row execute function private.audit_change('reschedule_request');
create trigger reschedule_requests_stay before delete or truncate on public.reschedule_requests
  for each statement execute function private.refuse_change('Requests stay: reject them, or let who asked withdraw them.');

create function private.record_wish() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if tg_op = 'INSERT' or new.status <> old.status then
    perform private.record_event(
      tg_argv[0] || '.' || case when tg_op = 'INSERT' then 'requested' else new.status::text end, 'session', new.session_id,
      jsonb_build_object('request_id', new.id, 'session_id', new.session_id, 'status', new.status,
                         'requested_by', new.requested_by_user_id, 'requested_by_role', new.requested_by_role),
      private.now());
  end if;
  return null;
end;
$$;
comment on function private.record_wish() is
  'Row trigger: one event for every turn of a wish about a session, whose row the writer has locked. Argument: the wish''s word.';
insert into private.event_types (name, description) values
  ('reschedule.requested', 'A tutor, a student or a guardian asks for another time.'),
  ('reschedule.accepted', 'An admin has moved the session to a proposed time.'),
  ('reschedule.rejected', 'An admin leaves the session at its time.'),
  ('reschedule.withdrawn', 'Who asked for another time has taken the wish back.'),
  ('reschedule.lapsed', 'The session changed before anybody decided about another time.');
create trigger reschedule_requests_record after insert or update on public.reschedule_requests
  for each row execute function private.record_wish('reschedule');

create function private.lapse_reschedule_requests() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  update public.reschedule_requests r
     set status = 'lapsed', decided_at = private.now()
    from old_sessions o join new_sessions n using (id)
   where r.session_id = n.id and r.status = 'pending'
     and (o.status, o.scheduled_start_utc) <> (n.status, n.scheduled_start_utc)
     and n.status <> 'rescheduled';  -- a parked session still waits for a time
  return null;
end;
$$;
create trigger sessions_lapse_reschedule_requests after update on public.sessions
  referencing old table as old_sessions new table as new_sessions
  for each statement execute function private.lapse_reschedule_requests();

alter table public.reschedule_requests enable row level security;
grant select on public.reschedule_requests to authenticated, service_role;
create policy "Who asked reads the request, admins all" on public.reschedule_requests
  for select to authenticated
  using (requested_by_user_id = (select private.caller_id()) or (select private.is_admin()));

create function private.reschedule_request_document(p_request public.reschedule_requests, p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'id', p_request.id, 'status', p_request.status, 'reason', p_request.reason,
           'proposals', (
             select coalesce(jsonb_agg(jsonb_build_object('start_utc', proposed, 'is_free',
                      -- Only who decides learns when the others are busy.
                      case when private.has_role(p_caller_id, 'admin') then proposed >= private.now() and not exists (
                        select from public.sessions b
                         where (b.tutor_user_id = s.tutor_user_id or b.student_user_id = s.student_user_id)
                           and b.status in ('scheduled', 'in_progress') and b.id <> s.id
                           and tstzrange(b.scheduled_start_utc, b.scheduled_end_utc)
                               && tstzrange(proposed, proposed + (s.scheduled_end_utc - s.scheduled_start_utc))) end)
                      order by position), '[]')
               from unnest(p_request.proposed_starts_utc) with ordinality as wanted (proposed, position)),
           'accepted_start_utc', p_request.accepted_start_utc,
           'requested_by', private.person_card(asker), 'requested_by_role', p_request.requested_by_role,
           'decided_at', p_request.decided_at, 'decision_reason', p_request.decision_reason,
           'session', private.session_documents(array[s.id], p_caller_id) -> 0,
           'created_at', p_request.created_at)
    from public.sessions s, public.profiles asker
   where s.id = p_request.session_id and asker.id = p_request.requested_by_user_id
$$;

create function private.reschedule_request_answer(p_request_id uuid, p_caller_id uuid, p_changed boolean) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'request', private.reschedule_request_document(r, p_caller_id), 'changed', p_changed,
           'viewer_timezone', (select timezone from public.profiles where id = p_caller_id))
    from public.reschedule_requests r where r.id = p_request_id
$$;

create function private.request_reschedule(p_session_id uuid, p_reason text, p_proposed_starts_utc timestamptz[]) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'scheduled', p_at_new_time => true, p_is_wish => true);
  v_session public.sessions;
  v_pending public.reschedule_requests;
  v_proposed timestamptz[] := coalesce(p_proposed_starts_utc, '{}');
  v_request_id uuid;
begin
  select * into v_session from public.sessions where id = p_session_id for update;
  select * into v_pending from public.reschedule_requests
   where session_id = p_session_id and requested_by_user_id = v_caller_id and requested_by_role = v_role
     and status = 'pending' for update;
  if v_pending.proposed_starts_utc = v_proposed and v_pending.reason = btrim(p_reason) then
    return private.reschedule_request_answer(v_pending.id, v_caller_id, false);
  end if;
  perform private.refuse_if(private.step_refusal(
    v_session, 'scheduled', v_role, p_reason, p_at_new_time => true, p_is_wish => true));
  if cardinality(v_proposed) > 3
     or cardinality(v_proposed) <> (
       select count(distinct proposed) from unnest(v_proposed) as proposed where private.is_lesson_time(proposed)) then
    perform private.refuse(422, 'invalid', 'Propose up to three different times.', '{"field": "proposed_starts_utc"}');
  end if;
  if exists (select from unnest(v_proposed) as proposed where proposed < private.now()) then
    perform private.refuse(422, 'start_in_past', 'A session cannot be moved into the past.', '{"field": "proposed_starts_utc"}');
  end if;
  if btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say why.', '{"field": "reason"}');
  end if;
  perform private.limit_calls('request_reschedule', 20, interval '1 hour');
  -- Who asks again means the new wish.
  update public.reschedule_requests
     set status = 'withdrawn', decided_at = private.now(), decided_by_user_id = v_caller_id
   where id = v_pending.id;
  insert into public.reschedule_requests (session_id, proposed_starts_utc, reason, requested_by_user_id, requested_by_role)
  values (p_session_id, v_proposed, btrim(p_reason), v_caller_id, v_role)
  returning id into v_request_id;
  return private.reschedule_request_answer(v_request_id, v_caller_id, true);
exception when check_violation then
  perform private.refuse(422, 'invalid', 'reason must have at most 1000 characters.', '{"field": "reason"}');
end;
$$;

create function public.request_reschedule(p_session_id uuid, p_reason text, p_proposed_starts_utc timestamptz[] default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.request_reschedule(p_session_id, p_reason, p_proposed_starts_utc);
comment on function public.request_reschedule(uuid, text, timestamptz[]) is
  'Its tutor or student asks for another time, with up to three that would suit; a new wish takes the place of their last one. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 reason_required, start_in_past, invalid, 429 too_many_requests.';
grant execute on function
  private.request_reschedule(uuid, text, timestamptz[]), public.request_reschedule(uuid, text, timestamptz[]) to authenticated;

create function private.list_reschedule_requests(
  p_status public.reschedule_status, p_session_id uuid, p_after_created timestamptz, p_after_id uuid, p_limit integer
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
      select r from public.reschedule_requests r
       where (v_is_admin or r.requested_by_user_id = v_caller_id)
         and (p_status is null or r.status = p_status)
         and (p_session_id is null or r.session_id = p_session_id)
         and (p_after_id is null or (r.created_at, r.id) > (p_after_created, p_after_id))
       order by r.created_at, r.id limit v_limit + 1
    )
    select jsonb_build_object(
      'requests', (select coalesce(jsonb_agg(private.reschedule_request_document(shown.r, v_caller_id)
                                             order by (shown.r).created_at, (shown.r).id), '[]')
                     from (select r from page limit v_limit) as shown),
      'has_more', (select count(*) from page) > v_limit,
      'viewer_timezone', (select timezone from public.profiles where id = v_caller_id)));
end;
$$;

create function public.list_reschedule_requests(
  p_status public.reschedule_status default null, p_session_id uuid default null,
  p_after_created timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_reschedule_requests(p_status, p_session_id, p_after_created, p_after_id, p_limit);
comment on function public.list_reschedule_requests(public.reschedule_status, uuid, timestamptz, uuid, integer) is
  'The caller''s wishes for another time (everybody''s, for admins), oldest first, a page at a time; admins see which times are free. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_reschedule_requests(public.reschedule_status, uuid, timestamptz, uuid, integer),
  public.list_reschedule_requests(public.reschedule_status, uuid, timestamptz, uuid, integer) to authenticated;

create function private.lock_reschedule_request(p_request_id uuid, p_caller_id uuid) returns public.reschedule_requests
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.reschedule_requests;
begin
  select * into v_request from public.reschedule_requests
   where id = p_request_id and (requested_by_user_id = p_caller_id or private.has_role(p_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such request.');
  end if;
  perform private.lock_people(tutor_user_id, student_user_id) from public.sessions where id = v_request.session_id;
  perform from public.sessions where id = v_request.session_id for update;
  select * into v_request from public.reschedule_requests where id = p_request_id for update;
  return v_request;
end;
$$;
comment on function private.lock_reschedule_request(uuid, uuid) is
  'The request, with all locks that deciding it takes. Refuses: 404 when it is not the caller''s to see.';

create function private.refuse_decided(p_status text) returns void
language sql
set search_path = '' set timezone = 'UTC'
return private.refuse(409, 'already_decided', format('The request is %s already.', replace(p_status, '_', ' ')),
                      jsonb_build_object('decided_as', p_status));

create function private.accept_reschedule_request(p_request_id uuid, p_start_utc timestamptz, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_request public.reschedule_requests := private.lock_reschedule_request(p_request_id, v_caller_id);
  v_start timestamptz := coalesce(
    p_start_utc, case when cardinality(v_request.proposed_starts_utc) = 1 then v_request.proposed_starts_utc[1] end);
begin
  if v_request.status = 'accepted' and coalesce(p_start_utc, v_request.accepted_start_utc) = v_request.accepted_start_utc then
    return private.reschedule_request_answer(p_request_id, v_caller_id, false);
  end if;
  if v_request.status <> 'pending' then
    perform private.refuse_decided(v_request.status::text);
  end if;
  if v_start is null or (cardinality(v_request.proposed_starts_utc) > 0 and v_start <> all (v_request.proposed_starts_utc)) then
    perform private.refuse(422, 'invalid', 'start_utc must be one of the proposed times.', '{"field": "start_utc"}');
  end if;
  update public.reschedule_requests
     set status = 'accepted', accepted_start_utc = v_start, decided_by_user_id = v_caller_id,
         decided_at = private.now(), decision_reason = nullif(btrim(p_reason), '')
   where id = p_request_id;
  perform private.move_step((v_request).session_id, v_start, v_caller_id, 'admin', coalesce(nullif(btrim(p_reason), ''), v_request.reason));
  return private.reschedule_request_answer(p_request_id, v_caller_id, true);
end;
$$;

create function public.accept_reschedule_request(
  p_request_id uuid, p_start_utc timestamptz default null, p_reason text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.accept_reschedule_request(p_request_id, p_start_utc, p_reason);
comment on function public.accept_reschedule_request(uuid, timestamptz, text) is
  'Admins move the session to one of the proposed times (any, when none was proposed); other requests about it lapse. Refuses: 401, 403 not_allowed, 404, 409 already_decided, illegal_transition, slot_taken, 422 start_in_past, invalid.';
grant execute on function
  private.accept_reschedule_request(uuid, timestamptz, text), public.accept_reschedule_request(uuid, timestamptz, text) to authenticated;

create function private.close_reschedule_request(
  p_request_id uuid, p_caller_id uuid, p_to public.reschedule_status, p_reason text
) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.reschedule_requests := private.lock_reschedule_request(p_request_id, p_caller_id);
begin
  if p_to = 'withdrawn' and v_request.requested_by_user_id <> p_caller_id then
    perform private.refuse(403, 'not_allowed', 'Only who asked may withdraw a request.');
  end if;
  if v_request.status = p_to then
    return private.reschedule_request_answer(p_request_id, p_caller_id, false);
  end if;
  if v_request.status <> 'pending' then
    perform private.refuse_decided(v_request.status::text);
  end if;
  update public.reschedule_requests
     set status = p_to, decided_by_user_id = p_caller_id, decided_at = private.now(), decision_reason = nullif(btrim(p_reason), '')
   where id = p_request_id;
  return private.reschedule_request_answer(p_request_id, p_caller_id, true);
end;
$$;
comment on function private.close_reschedule_request(uuid, uuid, public.reschedule_status, text) is
  'Ends a wish without another time: rejected, or withdrawn by who asked. Refuses: 403 not_allowed, 404, 409 already_decided.';

create function private.reject_reschedule_request(p_request_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.close_reschedule_request(p_request_id, private.require_admin(), 'rejected', p_reason);
end;
$$;

create function public.reject_reschedule_request(p_request_id uuid, p_reason text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.reject_reschedule_request(p_request_id, p_reason);
comment on function public.reject_reschedule_request(uuid, text) is
  'Admins leave the session at its time. Refuses: 401, 403 not_allowed, 404, 409 already_decided.';
grant execute on function
  private.reject_reschedule_request(uuid, text), public.reject_reschedule_request(uuid, text) to authenticated;

create function private.withdraw_reschedule_request(p_request_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.close_reschedule_request(p_request_id, private.require_caller(), 'withdrawn', null);
end;
$$;

create function public.withdraw_reschedule_request(p_request_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.withdraw_reschedule_request(p_request_id);
comment on function public.withdraw_reschedule_request(uuid) is
  'Who asked for another time takes the wish back. Refuses: 401, 403 not_allowed, 404, 409 already_decided.';
grant execute on function
  private.withdraw_reschedule_request(uuid), public.withdraw_reschedule_request(uuid) to authenticated;

-- A series -------------------------------------------------------------------------------------------

create type public.move_scope as enum ('one', 'following', 'all');
comment on type public.move_scope is 'How much of a package moves: one session, it and the following, or all that are open.';

create function private.series(p_match_id uuid, p_package_id uuid, p_scope public.move_scope, p_session_id uuid) returns uuid[]
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(array_agg(s.id order by s.scheduled_start_utc, s.sequence_number), '{}')
    from public.sessions s
    left join public.sessions first on first.id = p_session_id
   where s.match_id = p_match_id and s.package_id = p_package_id
     and private.step_refusal(s, 'scheduled', 'admin', null, p_at_new_time => true) is null
     and case p_scope
           when 'one' then s.id = p_session_id
           when 'following' then (s.scheduled_start_utc, s.sequence_number) >= (first.scheduled_start_utc, first.sequence_number)
           else true end
$$;
comment on function private.series(uuid, uuid, public.move_scope, uuid) is
  'The sessions of a package that a series move takes along: those an admin may move without a reason, in order.';

create function private.series_package(
  p_match public.matches, p_scope public.move_scope, p_session_id uuid, p_package_id uuid
) returns public.packages
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
begin
  if p_scope is null then
    perform private.refuse(422, 'invalid', 'Say how much moves: one, following or all.', '{"field": "scope"}');
  end if;
  if p_scope = 'all' then
    return private.package_for(p_match, p_package_id);
  end if;
  select * into v_session from public.sessions where id = p_session_id and match_id = p_match.id;
  if not found then
    perform private.refuse(404, 'not_found', 'The match has no such session.');
  end if;
  return private.package_for(p_match, v_session.package_id);
end;
$$;
comment on function private.series_package(public.matches, public.move_scope, uuid, uuid) is
  'The package whose sessions move: the session''s own, or as for generation. Refuses: 404, 422 no_active_package, package_required, invalid.';

create function private.series_inputs(
  p_match_id uuid, p_scope public.move_scope, p_session_id uuid, p_package_id uuid, p_from_date date
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
  v_package public.packages;
  v_moving uuid[];
begin
  perform private.require_admin();
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  v_package := private.series_package(v_match, p_scope, p_session_id, p_package_id);
  v_moving := private.series(p_match_id, v_package.id, p_scope, p_session_id);
  if v_moving = '{}' then
    perform private.refuse(409, 'illegal_transition', 'There is no open session to move.');
  end if;
  return private.plan_inputs(v_match, v_package, p_from_date, v_moving);
end;
$$;

create function public.series_inputs(
  p_match_id uuid, p_scope public.move_scope, p_session_id uuid default null, p_package_id uuid default null,
  p_from_date date default null
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.series_inputs(p_match_id, p_scope, p_session_id, p_package_id, p_from_date);
comment on function public.series_inputs(uuid, public.move_scope, uuid, uuid, date) is
  'Admins read what the move of a series depends on, with the sessions it takes along. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 no_active_package, package_required, invalid.';
grant execute on function
  private.series_inputs(uuid, public.move_scope, uuid, uuid, date),
  public.series_inputs(uuid, public.move_scope, uuid, uuid, date) to authenticated;

create function private.moves_of(p_moves jsonb, p_moving uuid[]) returns timestamptz[]
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_starts timestamptz[];
begin
  begin
    select array_agg((move.value ->> 'start_utc')::timestamptz order by move.position)
      into v_starts
      from jsonb_array_elements(p_moves) with ordinality as move (value, position)
     where p_moving[move.position::integer] = (move.value ->> 'session_id')::uuid
       and private.is_lesson_time((move.value ->> 'start_utc')::timestamptz);
  exception when data_exception then
    v_starts := null;
  end;
  if jsonb_array_length(p_moves) <> coalesce(cardinality(v_starts), 0)
     or v_starts <> array(select distinct start from unnest(v_starts) as start order by start) then
    perform private.refuse(422, 'invalid', 'Every session needs a start_utc of its own, later than the one before it.', '{"field": "moves"}');
  end if;
  return coalesce(v_starts, '{}');
end;
$$;
comment on function private.moves_of(jsonb, uuid[]) is
  'The new starts of the first sessions of a series, in their order. Refuses: 422 invalid.';

create function private.reschedule_series(
  p_match_id uuid, p_scope public.move_scope, p_session_id uuid, p_package_id uuid, p_from_date date, p_fingerprint text,
  p_moves jsonb, p_plan_hash text, p_expected_plan_hash text, p_reason text, p_schedule_pattern jsonb
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_match public.matches;
  v_package public.packages;
  v_moving uuid[];
  v_starts timestamptz[];
  v_slots tstzrange[];
  v_conflicts jsonb;
  v_id uuid;
  v_moved integer := 0;
begin
  if jsonb_typeof(p_moves) is distinct from 'array' or jsonb_array_length(p_moves) > 200 then
    perform private.refuse(422, 'invalid', 'moves must be a list.', '{"field": "moves"}');
  end if;
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  perform from public.requests where id = v_match.request_id for update;
  select * into v_match from public.matches where id = p_match_id for update;
  if v_match.status = 'ended' then
    perform private.refuse(409, 'illegal_transition', 'The match has ended.');
  end if;
  perform private.lock_people(v_match.tutor_user_id, v_match.student_user_id);
  v_package := private.series_package(v_match, p_scope, p_session_id, p_package_id);
  perform from public.sessions where id = any (private.series(p_match_id, v_package.id, p_scope, p_session_id)) order by id for update;
  v_moving := private.series(p_match_id, v_package.id, p_scope, p_session_id);
  if v_moving = '{}' then
    perform private.refuse(409, 'illegal_transition', 'There is no open session to move.');
  end if;
  if p_fingerprint is distinct from private.plan_inputs(v_match, v_package, p_from_date, v_moving) ->> 'fingerprint'
     or (p_expected_plan_hash is not null and p_expected_plan_hash is distinct from p_plan_hash) then
    perform private.refuse(409, 'plan_changed', 'What the plan was made from has changed; preview it again.');
  end if;
  v_starts := private.moves_of(p_moves, v_moving);
  if cardinality(v_starts) < cardinality(v_moving) then
    perform private.refuse(422, 'window_too_short',
      format('There is room for %s of %s sessions.', cardinality(v_starts), cardinality(v_moving)),
      jsonb_build_object('needed', cardinality(v_moving), 'fits', cardinality(v_starts)));
  end if;
  if v_starts[1] < private.now() then
    perform private.refuse(409, 'plan_changed', 'What the plan was made from has changed; preview it again.');
  end if;
  select array_agg(tstzrange(m.start_utc, m.start_utc + (s.scheduled_end_utc - s.scheduled_start_utc)))
    into v_slots
    from unnest(v_moving, v_starts) as m (id, start_utc) join public.sessions s using (id);
  perform private.lock_slots(v_match, v_slots);
  select jsonb_agg(conflict) into v_conflicts
    from jsonb_array_elements(private.slot_conflicts(v_match, v_slots, v_moving)) as conflict
   where conflict ->> 'session_id' is not null;
  if v_conflicts is not null then
    perform private.refuse(409, 'slot_taken', 'Some of the new times meet other live sessions of the tutor or the student.',
                           jsonb_build_object('conflicts', v_conflicts));
  end if;
  -- Old and new times both rise, so those that go later move from the last, those that go earlier from the first:
  -- no session is put where one of the series still stands. Parked ones stand nowhere and go last.
  for v_id in
    select m.id from unnest(v_moving, v_starts) as m (id, start_utc) join public.sessions s using (id)
     where m.start_utc <> s.scheduled_start_utc or s.status <> 'scheduled'
     order by s.status = 'rescheduled',
              case when m.start_utc > s.scheduled_start_utc then - extract(epoch from m.start_utc)
                   else extract(epoch from m.start_utc) end
  loop
    perform private.move_step(v_id, v_starts[array_position(v_moving, v_id)], v_caller_id, 'admin', p_reason);
    v_moved := v_moved + 1;
  end loop;
  if p_schedule_pattern is not null then
    perform private.set_match_schedule(p_match_id, p_schedule_pattern, null);
  end if;
  return jsonb_build_object(
    'moved', v_moved, 'match_id', p_match_id, 'package_id', v_package.id,
    'sessions', private.session_documents(v_moving, v_caller_id),
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;

create function public.reschedule_series(
  p_match_id uuid, p_scope public.move_scope, p_session_id uuid default null, p_package_id uuid default null,
  p_from_date date default null, p_fingerprint text default null, p_moves jsonb default '[]', p_plan_hash text default null,
  p_expected_plan_hash text default null, p_reason text default null, p_schedule_pattern jsonb default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.reschedule_series(
  p_match_id, p_scope, p_session_id, p_package_id, p_from_date, p_fingerprint, p_moves, p_plan_hash, p_expected_plan_hash,
  p_reason, p_schedule_pattern);
comment on function public.reschedule_series(
  uuid, public.move_scope, uuid, uuid, date, text, jsonb, text, text, text, jsonb) is
  'Admins move the open sessions of a package onto the dates of a weekly pattern, all or none, and may make it the match''s own. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, plan_changed, slot_taken, 422 window_too_short, no_active_package, package_required, invalid.';
grant execute on function
  private.reschedule_series(uuid, public.move_scope, uuid, uuid, date, text, jsonb, text, text, text, jsonb),
  public.reschedule_series(uuid, public.move_scope, uuid, uuid, date, text, jsonb, text, text, text, jsonb) to authenticated;
