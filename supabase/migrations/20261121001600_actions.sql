-- 16. Actions
--
-- What the buttons beside a session show: for prep, join, start, complete, missed, reschedule and cancel, whether this
-- caller may do it now, by which operation, and if not, why. Every answer comes from the functions that judge
-- the write itself (`private.capacity_refusal`, `private.step_refusal`, `private.credit_refusal`, and the
-- wishes' own; the brief's comes with the brief); nothing is decided here. Where somebody may only ask, the
-- operation is the asking one.

create function private.action(p_operation text, p_refusal jsonb, p_needs_reason boolean default false) returns jsonb
language sql immutable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object('allowed', p_refusal is null, 'operation', p_operation,
                          'needs_reason', p_refusal is null and p_needs_reason)
       || case when p_refusal is null then '{}' else
            jsonb_build_object('code', p_refusal -> 'code', 'detail', p_refusal -> 'detail')
            || coalesce(nullif(p_refusal -> 'extra', 'null'), '{}') end;
comment on function private.action(text, jsonb, boolean) is 'One button: may it be pressed, what does it call, and if not, why.';

create function private.step_action(
  p_operation text, p_session public.sessions, p_caller_id uuid, p_role public.actor_role,
  p_to public.session_status_enum, p_at_new_time boolean default false, p_takes_reason boolean default true
) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_refusal jsonb := private.capacity_refusal(p_session, p_caller_id, p_role, p_to, p_at_new_time);
  v_needs_reason boolean := false;
begin
  if v_refusal is null and p_session.status = p_to and not p_at_new_time then
    v_refusal := private.refusal(200, 'already_so', 'It is so already.');
  end if;
  if v_refusal is null then
    v_refusal := private.step_refusal(p_session, p_to, p_role, null, p_at_new_time);
    if p_takes_reason and v_refusal ->> 'code' = 'reason_required' then
      v_needs_reason := true;
      v_refusal := null;
    end if;
  end if;
  return private.action(p_operation, coalesce(v_refusal, private.credit_refusal(p_session, p_to)), v_needs_reason);
end;
$$;
comment on function private.step_action(
  text, public.sessions, uuid, public.actor_role, public.session_status_enum, boolean, boolean) is
  'The button of one step, asked in the order in which the write asks. Where the call takes no reason, a step that needs one is refused: it is a correction, for tutor_update_session.';

create function private.join_refusal(p_session public.sessions, p_meet_link text) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_opens_at timestamptz := p_session.scheduled_start_utc
    - (select make_interval(mins => start_window_mins) from public.settings);
begin
  return case
    when not private.is_live(p_session.status) then
      private.refusal(409, 'illegal_transition', format('There is nothing to join: the session is %s.', p_session.status),
                      jsonb_build_object('from', p_session.status))
    when p_meet_link is null then private.refusal(409, 'no_meet_link', 'There is no Meet link yet.')
    when private.now() < v_opens_at then
      private.refusal(409, 'too_early', 'It is too early for this.',
                      jsonb_build_object('opens_at', v_opens_at, 'policy', 'start_window_mins'))
    when p_session.status = 'scheduled' and private.now() >= p_session.scheduled_end_utc then
      private.refusal(409, 'too_late', 'It is too late for this.', jsonb_build_object('closed_at', p_session.scheduled_end_utc)) end;
end;
$$;
comment on function private.join_refusal(public.sessions, text) is
  'Why the Meet link is of no use now, or null: from the start window on, until the session ends or is resolved.';

create function private.session_actions(p_session public.sessions, p_caller_id uuid, p_meet_link text) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_role public.actor_role := private.capacity_in(p_session, p_caller_id);
  v_may_move boolean := private.capacity_refusal(p_session, p_caller_id, v_role, 'scheduled', true) is null;
begin
  return jsonb_build_object(
    'prep', private.action('prepare_session', private.prep_refusal(p_session, p_caller_id)),
    'join', private.action(null, private.join_refusal(p_session, p_meet_link)),
    'start', case
      -- Whoever comes after the clock is recorded.
      when p_session.status = 'in_progress' and p_session.started_by is null then private.action(
        'start_session', private.capacity_refusal(p_session, p_caller_id, v_role, 'in_progress'))
      else private.step_action('start_session', p_session, p_caller_id, v_role, 'in_progress', p_takes_reason => false) end,
    'complete', private.step_action('complete_session', p_session, p_caller_id, v_role, 'done', p_takes_reason => false),
    'missed', case
      when v_role = 'student' then private.action(
        'dispute_session', private.dispute_refusal(p_session, p_caller_id), true)
      else private.step_action('mark_missed', p_session, p_caller_id, v_role, 'no_show_student') end,
    'reschedule', case
      when v_may_move or v_role = 'admin' then
        private.step_action('reschedule_session', p_session, p_caller_id, v_role, 'scheduled', true)
      else private.action('request_reschedule', coalesce(
        private.capacity_refusal(p_session, p_caller_id, v_role, 'scheduled', true, true),
        private.step_refusal(p_session, 'scheduled', v_role, null, true, true)), true) end,
    'cancel', case
      when v_role = 'admin' then private.step_action('cancel_session', p_session, p_caller_id, v_role, 'cancelled')
      else private.action('request_cancellation', coalesce(
        private.capacity_refusal(p_session, p_caller_id, v_role, 'cancelled', false, true),
        private.cancellation_wish_refusal(p_session, p_caller_id, v_role)), true) end);
end;
$$;
comment on function private.session_actions(public.sessions, uuid, text) is
  'The buttons of a session for one caller; "missed" is about the student, and the student''s own is the dispute.';
