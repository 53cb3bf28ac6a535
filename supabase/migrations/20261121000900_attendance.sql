-- 9. Attendance
--
-- `tutor_update_session` sets a session's status: the tutor says what happened, an admin says so or
-- corrects it. It asks in one order: signed in? visible? may this role set that status at all? so already?
-- the version the caller saw? legal from here? Then one update, whose triggers keep credits, audit and
-- outbox. Asking again for the status a session is in is a success that changes nothing (other notes are
-- saved). What is legal is read from `private.session_transitions`.
--
-- Starting and completing as a student, moving, cancelling with consent and the clock's own sweep are left
-- to later chapters; they will take the same steps.

create function private.check_transition(
  p_session public.sessions, p_to public.session_status_enum, p_role public.actor_role, p_reason text
) returns void
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
     and coalesce(t.is_delayed, p_session.is_delayed) = p_session.is_delayed
     and coalesce(t.set_by, p_session.status_set_by) = p_session.status_set_by
   order by t.set_by nulls last limit 1;
  if not found then
    perform private.refuse(409, 'illegal_transition',
      format('A session that is %s cannot become %s this way.', p_session.status, p_to),
      jsonb_build_object('from', p_session.status, 'to', p_to));
  end if;
  select * into v_settings from public.settings;
  v_opens_at := case v_step.opens
    when 'start_window' then p_session.scheduled_start_utc - make_interval(mins => v_settings.start_window_mins)
    when 'start' then p_session.scheduled_start_utc
    when 'end' then p_session.scheduled_end_utc end;
  v_closed_at := case v_step.closes
    when 'end' then p_session.scheduled_end_utc
    when 'correction_window' then p_session.status_changed_at + make_interval(hours => v_settings.tutor_correction_hours) end;
  if v_now < v_opens_at then
    perform private.refuse(409, 'too_early', 'It is too early for this.', jsonb_strip_nulls(jsonb_build_object(
      'opens_at', v_opens_at, 'policy', case when v_step.opens = 'start_window' then 'start_window_mins' end)));
  end if;
  if v_now >= v_closed_at then
    perform private.refuse(409, 'too_late', 'It is too late for this.', jsonb_strip_nulls(jsonb_build_object(
      'closed_at', v_closed_at, 'policy', case when v_step.closes = 'correction_window' then 'tutor_correction_hours' end)));
  end if;
  if v_step.needs_future_start and p_session.scheduled_start_utc <= v_now then
    perform private.refuse(409, 'too_late', 'Only a session that has not begun can be scheduled again.',
                           jsonb_build_object('closed_at', p_session.scheduled_start_utc));
  end if;
  if v_step.needs_reason and btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say why.', jsonb_build_object('field', 'reason'));
  end if;
  if v_settings.sequence_lock and p_role = 'tutor' and private.is_live(p_session.status) and not private.is_live(p_to) then
    perform private.check_sequence(p_session);
  end if;
end;
$$;
comment on function private.check_transition(public.sessions, public.session_status_enum, public.actor_role, text) is
  'Refuses a step that private.session_transitions does not allow, or not now. Refuses: 409 illegal_transition, too_early, too_late, out_of_order, 422 reason_required.';

create function private.check_sequence(p_session public.sessions) returns void
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_blockers jsonb;
begin
  select jsonb_agg(jsonb_build_object('session_id', s.id, 'sequence_number', s.sequence_number,
                                      'scheduled_start_utc', s.scheduled_start_utc)
                   order by s.scheduled_start_utc, s.sequence_number)
    into v_blockers
    from public.sessions s
   where s.package_id = p_session.package_id
     and private.is_live(s.status)
     and (s.scheduled_start_utc, s.sequence_number) < (p_session.scheduled_start_utc, p_session.sequence_number);
  if v_blockers is not null then
    perform private.refuse(409, 'out_of_order', 'Earlier sessions of the package are still open.',
                           jsonb_build_object('blockers', v_blockers, 'policy', 'sequence_lock'));
  end if;
end;
$$;
comment on function private.check_sequence(public.sessions) is
  'A tutor resolves the sessions of a package in order. Refuses: 409 out_of_order, naming the blockers.';

create function private.tutor_update_session(
  p_session_id uuid, p_status public.session_status_enum, p_notes text, p_reason text, p_expected_version integer,
  p_idempotency_key text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := case when private.is_admin() then 'admin' else 'tutor' end;
  v_session public.sessions;
  v_match public.matches;
  v_again jsonb;
begin
  if p_idempotency_key is not null then
    v_again := jsonb_strip_nulls(jsonb_build_object(
      'p_session_id', p_session_id, 'p_status', p_status, 'p_notes', p_notes, 'p_reason', p_reason,
      'p_expected_version', p_expected_version));
    return private.once(p_idempotency_key, encode(sha256(convert_to(v_again::text, 'UTF8')), 'hex'),
                        'tutor_update_session', v_again);
  end if;
  select * into v_session from public.sessions
   where id = p_session_id and (v_role = 'admin' or v_caller_id in (tutor_user_id, student_user_id));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  if v_role = 'tutor'
     and (v_session.tutor_user_id <> v_caller_id
          or not private.has_role(v_caller_id, 'tutor')
          or not exists (select from private.session_transitions
                          where to_status = coalesce(p_status, to_status) and actor_role = 'tutor')) then
    perform private.refuse(403, 'not_allowed', case when v_session.tutor_user_id = v_caller_id then 'Only an admin may do this.' else 'Only its tutor or an admin may do this.' end);
  end if;
  if p_status is null then
    perform private.refuse(422, 'invalid', 'Say which status.', jsonb_build_object('field', 'status'));
  end if;
  if private.is_live(p_status) then
    -- Reopening takes the time again, as an insert does.
    perform private.lock_people(v_session.tutor_user_id, v_session.student_user_id);
  end if;
  select * into v_session from public.sessions where id = p_session_id for update;

  if p_status = v_session.status then
    if p_notes is distinct from coalesce(v_session.tutor_notes, '') and p_notes is not null then
      update public.sessions
         set tutor_notes = nullif(p_notes, ''), version = version + 1, updated_by_user_id = v_caller_id, updated_by_role = v_role
       where id = p_session_id;
      return private.session_answer(p_session_id, v_caller_id) || '{"changed": true}';
    end if;
    return private.session_answer(p_session_id, v_caller_id) || '{"changed": false}';
  end if;
  if p_expected_version <> v_session.version then
    perform private.refuse(409, 'stale_version', 'The session has changed since you read it.',
                           jsonb_build_object('version', v_session.version));
  end if;
  perform private.check_transition(v_session, p_status, v_role, p_reason);

  update public.sessions
     set status = p_status,
         status_reason = nullif(btrim(p_reason), ''),
         tutor_notes = nullif(coalesce(p_notes, tutor_notes), ''),
         version = version + 1, updated_by_user_id = v_caller_id, updated_by_role = v_role
   where id = p_session_id;
  return private.session_answer(p_session_id, v_caller_id) || '{"changed": true}';
exception when exclusion_violation then
  select * into v_match from public.matches where id = v_session.match_id;
  v_match.tutor_user_id := v_session.tutor_user_id;
  v_match.student_user_id := v_session.student_user_id;
  perform private.refuse(409, 'slot_taken', 'The tutor or the student has another live session then.',
    jsonb_build_object('conflicts', private.slot_conflicts(
      v_match, array[tstzrange(v_session.scheduled_start_utc, v_session.scheduled_end_utc)], array[v_session.id])));
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
