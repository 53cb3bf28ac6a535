-- 9. Attendance
--
-- `tutor_update_session` sets a session's status: the tutor says what happened, an admin says so or
-- corrects it. It asks in one order: signed in? visible? may this role set that status at all? so already?
-- the version the caller saw? legal from here? Then one update, whose triggers keep credits, audit and
-- outbox. Asking again for the status a session is in is a success that changes nothing (other notes are
-- saved). What is legal is read from `private.session_transitions`.
--
-- `start_session` and `complete_session` are the buttons of both sides, `mark_missed` says who was not there, and
-- `dispute_session` lets a student object to what the clock completed. All of them take the same step
-- (`private.take_step`), and every step has one judge: `private.capacity_refusal` says whether somebody may ever
-- take it, `private.step_refusal` whether now. They answer rather than refuse, so that the buttons of a session
-- (`private.session_actions`, a later chapter) ask the same judge. Moving and cancelling have chapters of their own.

create function private.capacity_in(p_session public.sessions, p_caller_id uuid) returns public.actor_role
language sql stable
set search_path = '' set timezone = 'UTC'
return case
  when private.has_role(p_caller_id, 'admin') then 'admin'::public.actor_role
  when p_session.tutor_user_id = p_caller_id and private.has_role(p_caller_id, 'tutor') then 'tutor'
  when p_session.student_user_id = p_caller_id and private.has_role(p_caller_id, 'student') then 'student' end;
comment on function private.capacity_in(public.sessions, uuid) is
  'In which capacity somebody acts on a session; null when in none.';

create function private.capacity_refusal(
  p_session public.sessions, p_caller_id uuid, p_role public.actor_role, p_to public.session_status_enum,
  p_at_new_time boolean default false, p_is_wish boolean default false
) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_policy text;
begin
  -- A step without a policy goes first.
  select t.policy into v_policy
    from private.session_transitions t
   where t.actor_role = p_role and t.to_status = coalesce(p_to, t.to_status)
     and t.at_new_time = p_at_new_time and t.is_wish = p_is_wish
     and (p_role <> 'student' or p_is_wish or (t.origin = 'match') = (p_session.match_id is not null))
   order by t.policy nulls first limit 1;
  if not found then
    return private.refusal(403, 'not_allowed', case
      when p_is_wish and p_role = 'admin' then 'An admin need not ask.'
      when p_is_wish then 'Only its tutor or its student may ask for this.'
      when p_session.tutor_user_id = p_caller_id or p_at_new_time then 'Only an admin may do this.'
      else 'Only its tutor or an admin may do this.' end);
  end if;
  if v_policy is not null and not (select (to_jsonb(s) ->> v_policy)::boolean from public.settings s) then
    return private.refusal(403, 'not_allowed', 'The house leaves this to its admins.', jsonb_build_object('policy', v_policy));
  end if;
  return null;
end;
$$;
comment on function private.capacity_refusal(
  public.sessions, uuid, public.actor_role, public.session_status_enum, boolean, boolean) is
  'Why somebody in that capacity may never set that status (give a new time, ask for it); null when they may at times. 403 not_allowed.';

create function private.step_refusal(
  p_session public.sessions, p_to public.session_status_enum, p_role public.actor_role, p_reason text,
  p_at_new_time boolean default false, p_is_wish boolean default false
) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_step private.session_transitions;
  v_settings public.settings;
  v_now timestamptz := private.now();
  v_opens_at timestamptz;
  v_closed_at timestamptz;
begin
  select * into v_step from private.session_transitions t
   where t.origin = (case when p_session.match_id is null then 'booking' else 'match' end)::public.session_origin
     and t.from_status = p_session.status and t.to_status = p_to and t.actor_role = p_role
     and t.at_new_time = p_at_new_time and t.is_wish = p_is_wish
     and coalesce(t.is_delayed, p_session.is_delayed) = p_session.is_delayed
     and coalesce(t.set_by, p_session.status_set_by) = p_session.status_set_by
   order by t.set_by nulls last limit 1;
  if not found then
    return private.refusal(409, 'illegal_transition', case
      when p_at_new_time then format('A session of a %s that is %s cannot be given another time this way.',
                                     case when p_session.match_id is null then 'booking' else 'match' end, p_session.status)
      else format('A session that is %s cannot become %s this way.', p_session.status, p_to) end,
      jsonb_build_object('from', p_session.status, 'to', p_to));
  end if;
  select * into v_settings from public.settings;
  v_opens_at := case v_step.opens
    when 'start_window' then p_session.scheduled_start_utc - make_interval(mins => v_settings.start_window_mins)
    when 'start' then p_session.scheduled_start_utc
    when 'end' then p_session.scheduled_end_utc end;
  v_closed_at := case v_step.closes
    when 'start' then p_session.scheduled_start_utc
    when 'end' then p_session.scheduled_end_utc
    when 'correction_window' then p_session.status_changed_at + make_interval(hours => v_settings.tutor_correction_hours) end;
  if v_now < v_opens_at then
    return private.refusal(409, 'too_early', 'It is too early for this.', jsonb_strip_nulls(jsonb_build_object(
      'opens_at', v_opens_at, 'policy', case when v_step.opens = 'start_window' then 'start_window_mins' end)));
  end if;
  if v_now >= v_closed_at then
    return private.refusal(409, 'too_late', 'It is too late for this.', jsonb_strip_nulls(jsonb_build_object(
      'closed_at', v_closed_at, 'policy', case when v_step.closes = 'correction_window' then 'tutor_correction_hours' end)));
  end if;
  if v_step.needs_future_start and p_session.scheduled_start_utc <= v_now then
    return private.refusal(409, 'too_late', 'Only a session that has not begun can be scheduled again.',
                           jsonb_build_object('closed_at', p_session.scheduled_start_utc));
  end if;
  if v_step.needs_reason and btrim(coalesce(p_reason, '')) = '' then
    return private.refusal(422, 'reason_required', 'Say why.', jsonb_build_object('field', 'reason'));
  end if;
  if v_settings.sequence_lock and p_role = 'tutor' and private.is_live(p_session.status)
     and not private.is_live(p_to) and not p_is_wish then
    return private.sequence_refusal(p_session);
  end if;
  return null;
end;
$$;
comment on function private.step_refusal(
  public.sessions, public.session_status_enum, public.actor_role, text, boolean, boolean) is
  'Why private.session_transitions does not allow a step now, or null. Any step has this one judge, whether it is taken or only asked about. 409 illegal_transition, too_early, too_late, out_of_order, 422 reason_required.';

create function private.sequence_refusal(p_session public.sessions) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select private.refusal(409, 'out_of_order', 'Earlier sessions of the package are still open.',
           jsonb_build_object('policy', 'sequence_lock', 'blockers', jsonb_agg(jsonb_build_object(
             'session_id', s.id, 'sequence_number', s.sequence_number, 'scheduled_start_utc', s.scheduled_start_utc)
             order by s.scheduled_start_utc, s.sequence_number)))
    from public.sessions s
   where s.package_id = p_session.package_id
     and s.status in ('scheduled', 'in_progress')
     and (s.scheduled_start_utc, s.sequence_number) < (p_session.scheduled_start_utc, p_session.sequence_number)
  having count(*) > 0
$$;
comment on function private.sequence_refusal(public.sessions) is
  'A tutor resolves the sessions of a package in order: null, or 409 out_of_order naming the blockers.';

create function private.side_of(
  p_session_id uuid, p_caller_id uuid, p_to public.session_status_enum,
  p_at_new_time boolean default false, p_is_wish boolean default false
) returns public.actor_role
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
  v_role public.actor_role;
begin
  select * into v_session from public.sessions
   where id = p_session_id
     and (p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  v_role := private.capacity_in(v_session, p_caller_id);
  perform private.refuse_if(private.capacity_refusal(v_session, p_caller_id, v_role, p_to, p_at_new_time, p_is_wish));
  return v_role;
end;
$$;
comment on function private.side_of(uuid, uuid, public.session_status_enum, boolean, boolean) is
  'In which capacity the caller may take that step on the session at all. Refuses: 404 when it is not theirs to see, 403 not_allowed.';

create function private.refuse_slot_taken(p_session public.sessions, p_start_utc timestamptz, p_role public.actor_role) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
begin
  v_match.tutor_user_id := p_session.tutor_user_id;
  v_match.student_user_id := p_session.student_user_id;
  perform private.refuse(409, 'slot_taken', 'The tutor or the student has another live session then.',
    jsonb_build_object('conflicts', (
      select jsonb_agg(case when p_role = 'admin' then conflict else conflict - 'session_id' end)
        from jsonb_array_elements(private.slot_conflicts(
          v_match, array[tstzrange(p_start_utc, p_start_utc + (p_session.scheduled_end_utc - p_session.scheduled_start_utc))],
          array[p_session.id])) as conflict)));
end;
$$;
comment on function private.refuse_slot_taken(public.sessions, timestamptz, public.actor_role) is
  'Refuses (409 slot_taken) a time that meets other live sessions; only admins learn which.';

create function private.take_step(
  p_session_id uuid, p_to public.session_status_enum, p_caller_id uuid, p_role public.actor_role,
  p_notes text default null, p_reason text default null, p_expected_version integer default null
) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
begin
  select * into v_session from public.sessions where id = p_session_id;
  if private.is_live(p_to) then
    -- Reopening takes the time again, as an insert does.
    perform private.lock_people(v_session.tutor_user_id, v_session.student_user_id);
  end if;
  select * into v_session from public.sessions where id = p_session_id for update;

  if p_to = v_session.status then
    -- Other notes are saved, and whoever comes after the clock is recorded; the session stays delayed.
    update public.sessions
       set tutor_notes = nullif(coalesce(p_notes, tutor_notes), ''),
           started_by = case when p_to = 'in_progress' then coalesce(started_by, p_caller_id) else started_by end,
           version = version + 1, updated_by_user_id = p_caller_id, updated_by_role = p_role
     where id = p_session_id
       and (p_notes <> coalesce(tutor_notes, '') or (p_to = 'in_progress' and started_by is null));
    return private.session_answer(p_session_id, p_caller_id) || jsonb_build_object('changed', found);
  end if;
  if p_expected_version <> v_session.version then
    perform private.refuse(409, 'stale_version', 'The session has changed since you read it.',
                           jsonb_build_object('version', v_session.version));
  end if;
  perform private.refuse_if(private.step_refusal(v_session, p_to, p_role, p_reason));

  update public.sessions
     set status = p_to,
         status_reason = nullif(btrim(p_reason), ''),
         tutor_notes = nullif(coalesce(p_notes, tutor_notes), ''),
         version = version + 1, updated_by_user_id = p_caller_id, updated_by_role = p_role
   where id = p_session_id;
  return private.session_answer(p_session_id, p_caller_id) || '{"changed": true}';
exception when exclusion_violation then
  perform private.refuse_slot_taken(v_session, v_session.scheduled_start_utc, p_role);
end;
$$;
comment on function private.take_step(uuid, public.session_status_enum, uuid, public.actor_role, text, text, integer) is
  'Sets a session''s status for a caller whose side is known: so already? the version they saw? legal from here? Then the one write. Refuses: 402 package_exhausted, 409 stale_version, illegal_transition, too_early, too_late, out_of_order, slot_taken, 422 reason_required.';

create function private.tutor_update_session(
  p_session_id uuid, p_status public.session_status_enum, p_notes text, p_reason text, p_expected_version integer,
  p_idempotency_key text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role;
  v_again jsonb;
begin
  if p_idempotency_key is not null then
    v_again := jsonb_strip_nulls(jsonb_build_object(
      'p_session_id', p_session_id, 'p_status', p_status, 'p_notes', p_notes, 'p_reason', p_reason,
      'p_expected_version', p_expected_version));
    return private.once(p_idempotency_key, encode(sha256(convert_to(v_again::text, 'UTF8')), 'hex'),
                        'tutor_update_session', v_again);
  end if;
  v_role := private.side_of(p_session_id, v_caller_id, p_status);
  if v_role = 'student' then
    perform private.refuse(403, 'not_allowed', 'Only its tutor or an admin may do this.');
  end if;
  if p_status is null then
    perform private.refuse(422, 'invalid', 'Say which status.', jsonb_build_object('field', 'status'));
  end if;
  return private.take_step(p_session_id, p_status, v_caller_id, v_role, p_notes, p_reason, p_expected_version);
end;
$$;

create function public.tutor_update_session(
  p_session_id uuid, p_status public.session_status_enum, p_notes text default null, p_reason text default null,
  p_expected_version integer default null, p_idempotency_key text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.tutor_update_session(p_session_id, p_status, p_notes, p_reason, p_expected_version, p_idempotency_key);
comment on function public.tutor_update_session(uuid, public.session_status_enum, text, text, integer, text) is
  'Its tutor says what became of a session, an admin too, or corrects it with a reason. Null notes keep, '''' clears. Refuses: 401, 402 package_exhausted, 403 not_allowed, 404, 409 illegal_transition, too_early, too_late, out_of_order, slot_taken, stale_version, 422 reason_required, invalid.';
grant execute on function
  private.tutor_update_session(uuid, public.session_status_enum, text, text, integer, text),
  public.tutor_update_session(uuid, public.session_status_enum, text, text, integer, text) to authenticated;

create function private.start_session(p_session_id uuid, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'in_progress');
begin
  return private.take_step(p_session_id, 'in_progress', v_caller_id, v_role, p_expected_version => p_expected_version);
end;
$$;

create function public.start_session(p_session_id uuid, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.start_session(p_session_id, p_expected_version);
comment on function public.start_session(uuid, integer) is
  'Either side begins a session, from start_window_mins before its start to its end; after the clock it only records who came. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, too_early, too_late, stale_version.';
grant execute on function private.start_session(uuid, integer), public.start_session(uuid, integer) to authenticated;

create function private.complete_session(p_session_id uuid, p_notes text, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, 'done');
begin
  if v_role = 'student' and p_notes is not null then
    perform private.refuse(403, 'not_allowed', 'The notes are the tutor''s.');
  end if;
  return private.take_step(p_session_id, 'done', v_caller_id, v_role, p_notes, p_expected_version => p_expected_version);
end;
$$;

create function public.complete_session(p_session_id uuid, p_notes text default null, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.complete_session(p_session_id, p_notes, p_expected_version);
comment on function public.complete_session(uuid, text, integer) is
  'Its tutor completes a session from its start on; its student only one of a match that is delayed. Refuses: 401, 402 package_exhausted, 403 not_allowed, 404, 409 illegal_transition, too_early, out_of_order, stale_version.';
grant execute on function private.complete_session(uuid, text, integer), public.complete_session(uuid, text, integer) to authenticated;

create function private.mark_missed(
  p_session_id uuid, p_by public.app_role, p_notes text, p_reason text, p_expected_version integer, p_notify_guardian boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_to public.session_status_enum := case p_by when 'student' then 'no_show_student' when 'tutor' then 'no_show_tutor' end;
  v_role public.actor_role := private.side_of(p_session_id, v_caller_id, coalesce(v_to, 'no_show_student'));
  v_answer jsonb;
begin
  if v_to is null then
    perform private.refuse(422, 'invalid', 'Say who was not there: student or tutor.', jsonb_build_object('field', 'by'));
  end if;
  v_answer := private.take_step(p_session_id, v_to, v_caller_id, v_role, p_notes, p_reason, p_expected_version);
  if p_notify_guardian then
    perform private.tell_guardian_of_no_show(p_session_id);
  end if;
  return v_answer;
end;
$$;

create function public.mark_missed(
  p_session_id uuid, p_by public.app_role, p_notes text default null, p_reason text default null,
  p_expected_version integer default null, p_notify_guardian boolean default false
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.mark_missed(p_session_id, p_by, p_notes, p_reason, p_expected_version, p_notify_guardian);
comment on function public.mark_missed(uuid, public.app_role, text, text, integer, boolean) is
  'Its tutor or an admin says that the student or the tutor was not there; only from the start on. p_notify_guardian has the primary guardian told of the student''s absence. Refuses as tutor_update_session.';
grant execute on function
  private.mark_missed(uuid, public.app_role, text, text, integer, boolean),
  public.mark_missed(uuid, public.app_role, text, text, integer, boolean) to authenticated;

create table public.disputes (
  session_id uuid primary key references public.sessions (id),
  reason text not null,
  disputed_by_user_id uuid not null references public.profiles (id),
  created_at timestamptz not null default private.now(),
  constraint disputes_reason_is_bounded check (char_length(reason) between 1 and 1000)
);
comment on table public.disputes is 'Sessions that their student says did not take place as the clock has it; an admin corrects the session.';
comment on column public.disputes.reason is 'What the student says happened.';
create index disputes_disputed_by on public.disputes (disputed_by_user_id);
create trigger disputes_append_only before update or delete or truncate on public.disputes
  for each statement execute function private.refuse_change('A dispute stays: correct the session with tutor_update_session.');
alter table public.disputes enable row level security;
grant select on public.disputes to authenticated, service_role;
create policy "Who reads a session reads its dispute" on public.disputes
  for select to authenticated
  using (session_id in (select id from public.sessions));

insert into private.event_types (name, description) values
  ('session.disputed', 'A student objects to what the clock completed.');

create function private.dispute_refusal(p_session public.sessions, p_caller_id uuid) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_closed_at timestamptz := p_session.status_changed_at
    + (select make_interval(hours => tutor_correction_hours) from public.settings);
begin
  return case
    when p_session.student_user_id <> p_caller_id or not private.has_role(p_caller_id, 'student') then
      private.refusal(403, 'not_allowed', 'Only its student may dispute a session.')
    when exists (select from public.disputes where session_id = p_session.id) then
      private.refusal(200, 'already_so', 'It is so already.')
    when p_session.status <> 'done' or p_session.status_set_by <> 'clock' or p_session.match_id is null then
      private.refusal(409, 'illegal_transition', 'Only what the clock completed can be disputed.',
                      jsonb_build_object('from', p_session.status))
    when private.now() >= v_closed_at then
      private.refusal(409, 'too_late', 'It is too late for this.',
                      jsonb_build_object('closed_at', v_closed_at, 'policy', 'tutor_correction_hours')) end;
end;
$$;
comment on function private.dispute_refusal(public.sessions, uuid) is
  'Why somebody may not dispute a session now, or null; a disputed one is so already.';

create function private.dispute_session(p_session_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions;
  v_refusal jsonb;
begin
  select * into v_session from public.sessions
   where id = p_session_id and (v_caller_id in (tutor_user_id, student_user_id) or private.is_admin()) for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  v_refusal := private.dispute_refusal(v_session, v_caller_id);
  if v_refusal ->> 'code' = 'already_so' then
    return private.session_answer(p_session_id, v_caller_id) || '{"changed": false}';
  end if;
  perform private.refuse_if(v_refusal);
  if btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say what happened.', jsonb_build_object('field', 'reason'));
  end if;
  insert into public.disputes (session_id, reason, disputed_by_user_id) values (p_session_id, btrim(p_reason), v_caller_id);
  perform private.record_audit('session_disputed', 'session', p_session_id, p_reason => btrim(p_reason));
  perform private.record_event('session.disputed', 'session', p_session_id, private.session_payload(v_session), private.now());
  return private.session_answer(p_session_id, v_caller_id) || '{"changed": true}';
end;
$$;

create function public.dispute_session(p_session_id uuid, p_reason text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.dispute_session(p_session_id, p_reason);
comment on function public.dispute_session(uuid, text) is
  'Its student objects to what the clock completed, within tutor_correction_hours; admins are told. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, too_late, 422 reason_required.';
grant execute on function private.dispute_session(uuid, text), public.dispute_session(uuid, text) to authenticated;

create function private.health() returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  return jsonb_build_object('clock', jsonb_build_object('now', private.now(), 'is_real', private.now() = now()));
end;
$$;

create function public.health() returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.health();
comment on function public.health() is 'Admins see whether the clock is the real one. Refuses: 401, 403 not_allowed.';
grant execute on function private.health(), public.health() to authenticated;
