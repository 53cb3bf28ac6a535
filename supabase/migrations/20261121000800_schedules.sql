-- 8. Schedules
--
-- A month of sessions from a weekly pattern, in two trips, because local times become instants in Python
-- alone: `schedule_inputs` reads everything a plan depends on, with a fingerprint of it; Python walks the
-- dates; `generate_sessions` checks that the fingerprint still holds and writes all or nothing.
--
-- The order of its answers: generated already (the same sessions again), plan_changed, window_too_short,
-- slot_taken with every conflict. Other sessions of the two people are not in the fingerprint: the
-- exclusion constraints see them, also those that arrive in between. A date that was generated once is
-- never generated again, even when it was cancelled or moved. `add_extra_session` adds one make-up.
-- `end_match` cancels what is still to come. A whole house's month and moving a series have
-- chapters of their own.

create function private.package_for(p_match public.matches, p_package_id uuid) returns public.packages
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_package public.packages;
  v_choices uuid[];
begin
  if p_package_id is not null then
    select * into v_package from public.packages where id = p_package_id and request_id = p_match.request_id;
    if not found then
      perform private.refuse(404, 'not_found', 'The match has no such package.');
    end if;
    return v_package;
  end if;
  select array_agg(id order by start_date, id) into v_choices
    from public.packages where request_id = p_match.request_id and status = 'active';
  if v_choices is null then
    perform private.refuse(422, 'no_active_package', 'The request of this match has no active package.');
  elsif cardinality(v_choices) > 1 then
    perform private.refuse(422, 'package_required', 'The request has several packages; say which.',
                           jsonb_build_object('packages', to_jsonb(v_choices)));
  end if;
  select * into v_package from public.packages where id = v_choices[1];
  return v_package;
end;
$$;
comment on function private.package_for(public.matches, uuid) is
  'The named package of a match, or its only active one. Refuses: 404, 422 no_active_package, package_required.';

create function private.sessions_needed(p_package public.packages) returns integer
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select greatest(0, p_package.tier_sessions - p_package.opening_used - count(*)::integer)
    from public.sessions where package_id = p_package.id and private.counts_in_package(status)
$$;
comment on function private.sessions_needed(public.packages) is 'How many sessions a package still lacks: the N of generation.';

create function private.plan_inputs(
  p_match public.matches, p_package public.packages, p_from_date date, p_moving uuid[] default null
) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  -- What moves may leave the package's window: expiry stops generation, not teaching.
  v_first date := case when p_moving is null then p_package.start_date else coalesce(p_from_date, (
    select min(scheduled_start_utc)::date - 1 from public.sessions where id = any (p_moving))) end;
  v_last date := case when p_moving is null then p_package.end_date else v_first + 400 end;
  -- Local dates of any zone lie within a day of the same dates in UTC; a session is at most 8 hours long.
  v_from timestamptz := greatest(v_first, p_from_date)::timestamptz - interval '2 days';
  v_to timestamptz := greatest(v_last::timestamptz + interval '3 days', v_from);
  v_inputs jsonb;
begin
  select jsonb_build_object(
      'match_id', p_match.id, 'package_id', p_package.id, 'request_id', p_match.request_id,
      'pattern', p_match.schedule_pattern, 'meet_link', p_match.meet_link,
      'tutor', private.person_card(t), 'student', private.person_card(s),
      'window', jsonb_build_object('start_date', v_first, 'end_date', v_last, 'from_date', p_from_date),
      'package_end_date', p_package.end_date,
      'tier_sessions', p_package.tier_sessions, 'opening_used', p_package.opening_used,
      'needed', coalesce(cardinality(p_moving), private.sessions_needed(p_package)),
      'moving', (select jsonb_agg(jsonb_build_object(
                          'session_id', id, 'sequence_number', sequence_number, 'status', status, 'version', version,
                          'scheduled_start_utc', scheduled_start_utc, 'scheduled_end_utc', scheduled_end_utc)
                        order by scheduled_start_utc, sequence_number)
                   from public.sessions where id = any (p_moving)),
      'counted', (select count(*) from public.sessions where package_id = p_package.id and private.counts_in_package(status)),
      'existing', (select count(*) from public.sessions where package_id = p_package.id),
      'taken', (select coalesce(jsonb_agg(occurrence_start_utc order by occurrence_start_utc), '[]')
                  from public.sessions
                 where package_id = p_package.id and occurrence_start_utc is not null and p_moving is null),
      'holidays', (select coalesce(jsonb_agg(jsonb_build_object('date', on_date, 'name', name) order by on_date), '[]')
                     from public.holidays where on_date between v_first and v_last),
      'time_off', (select coalesce(jsonb_agg(jsonb_build_object(
                            'id', o.id, 'of', case when o.user_id = t.id then 'tutor' else 'student' end,
                            'starts_on', o.starts_on, 'ends_on', o.ends_on,
                            'starts_at', o.starts_at, 'ends_at', o.ends_at) order by o.id), '[]')
                     from public.time_off o
                    where o.user_id in (t.id, s.id)
                      and coalesce(o.starts_at, o.starts_on::timestamptz) < v_to
                      and coalesce(o.ends_at, o.ends_on::timestamptz + interval '1 day') > v_from))
    into v_inputs
    from public.profiles t, public.profiles s
   where t.id = p_match.tutor_user_id and s.id = p_match.student_user_id;
  return v_inputs || jsonb_build_object(
    'fingerprint', encode(sha256(convert_to(v_inputs::text, 'UTF8')), 'hex'),
    'now', private.now(),
    'busy', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'session_id', b.id, 'start', b.scheduled_start_utc, 'end', b.scheduled_end_utc,
               'of', case
                 when p_match.tutor_user_id not in (b.tutor_user_id, b.student_user_id) then 'student'
                 when p_match.student_user_id not in (b.tutor_user_id, b.student_user_id) then 'tutor'
                 else 'both' end) order by b.scheduled_start_utc, b.id), '[]')
        from public.sessions b
       where (b.tutor_user_id = p_match.tutor_user_id or b.student_user_id = p_match.student_user_id)
         and b.status in ('scheduled', 'in_progress')
         and b.id <> all (coalesce(p_moving, '{}'))
         and tstzrange(b.scheduled_start_utc, b.scheduled_end_utc) && tstzrange(v_from, v_to)));
end;
$$;
comment on function private.plan_inputs(public.matches, public.packages, date, uuid[]) is
  'Everything a plan depends on, and a fingerprint of it: a plan of what a package lacks, or of where the sessions p_moving go. The fingerprint leaves out the time and other live sessions.';

create function private.schedule_inputs(p_match_id uuid, p_package_id uuid, p_from_date date) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
begin
  perform private.require_admin();
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  if v_match.schedule_pattern is null then
    perform private.refuse(422, 'schedule_missing', 'The match has no weekly pattern yet; set it with set_match_schedule.');
  end if;
  return private.plan_inputs(v_match, private.package_for(v_match, p_package_id), p_from_date);
end;
$$;

create function public.schedule_inputs(p_match_id uuid, p_package_id uuid default null, p_from_date date default null) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.schedule_inputs(p_match_id, p_package_id, p_from_date);
comment on function public.schedule_inputs(uuid, uuid, date) is
  'Admins read what a month''s plan depends on. Refuses: 401, 403 not_allowed, 404, 422 schedule_missing, no_active_package, package_required.';
grant execute on function private.schedule_inputs(uuid, uuid, date), public.schedule_inputs(uuid, uuid, date) to authenticated;

create function private.slot_conflicts(p_match public.matches, p_slots tstzrange[], p_except uuid[] default '{}') returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'start_utc', lower(slot), 'end_utc', upper(slot), 'session_id', b.id,
           'of', case
             when b.tutor_user_id <> p_match.tutor_user_id then 'student'
             when b.student_user_id <> p_match.student_user_id then 'tutor'
             else 'both' end) order by slot, b.id), '[]')
    from unnest(p_slots) as slot
    left join public.sessions b
      on (b.tutor_user_id = p_match.tutor_user_id or b.student_user_id = p_match.student_user_id)
     and b.status in ('scheduled', 'in_progress')
     and tstzrange(b.scheduled_start_utc, b.scheduled_end_utc) && slot
     and b.id <> all (p_except)
$$;
comment on function private.slot_conflicts(public.matches, tstzrange[], uuid[]) is
  'For each slot the live sessions of the match''s two people in its way; a null session means the slot collides within its own plan.';

create function private.lock_slots(p_match public.matches, p_slots tstzrange[]) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  select from public.sessions
   where (tutor_user_id = p_match.tutor_user_id or student_user_id = p_match.student_user_id)
     and status in ('scheduled', 'in_progress')
     and tstzrange(scheduled_start_utc, scheduled_end_utc) && any (p_slots)
   order by id for update
$$;
comment on function private.lock_slots(public.matches, tstzrange[]) is
  'Sessions come before packages in the lock order: an exclusion constraint would wait for them while we hold the package.';

create function private.write_plan(
  p_match_id uuid, p_package_id uuid, p_from_date date, p_fingerprint text, p_occurrences jsonb,
  p_plan_hash text, p_expected_plan_hash text, p_allow_partial boolean, p_fill boolean, p_caller_id uuid,
  out package_id uuid, out created integer
) language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
  v_package public.packages;
  v_needed integer;
  v_slots tstzrange[];
  v_born uuid[];
  v_lost tstzrange[];
begin
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  perform from public.requests where id = v_match.request_id for update;
  select * into v_match from public.matches where id = p_match_id for update;
  perform private.lock_people(v_match.tutor_user_id, v_match.student_user_id);
  v_slots := private.slots_of(p_occurrences, null);
  perform private.lock_slots(v_match, v_slots);
  v_package := private.package_for(v_match, p_package_id);
  select * into v_package from public.packages where id = v_package.id for update;
  package_id := v_package.id;
  created := 0;

  if not coalesce(p_fill, false) and exists (select from public.sessions s where s.package_id = v_package.id) then
    return;
  end if;
  if v_match.status = 'ended' then
    perform private.refuse(409, 'illegal_transition', 'The match has ended.');
  end if;
  if v_package.status <> 'active' then
    perform private.refuse(422, 'no_active_package', 'The package is cancelled.');
  end if;
  v_needed := private.sessions_needed(v_package);
  if v_needed = 0 then
    return;
  end if;
  if p_fingerprint is distinct from private.plan_inputs(v_match, v_package, p_from_date) ->> 'fingerprint'
     or (p_expected_plan_hash is not null and p_expected_plan_hash is distinct from p_plan_hash)
     or cardinality(v_slots) > v_needed
     or exists (select from unnest(v_slots) as slot
                 where lower(slot) < private.now()
                    -- No zone is more than a day away from UTC; the exact dates are Python's affair.
                    or lower(slot) not between v_package.start_date - 1 and v_package.end_date + 2) then
    perform private.refuse(409, 'plan_changed', 'What the plan was made from has changed; preview it again.');
  end if;
  perform private.slots_of(p_occurrences, coalesce((v_match.schedule_pattern ->> 'duration_mins')::integer, 0));
  if cardinality(v_slots) < v_needed and (cardinality(v_slots) = 0 or not coalesce(p_allow_partial, false)) then
    perform private.refuse(422, 'window_too_short',
      format('The window has room for %s of %s sessions.', cardinality(v_slots), v_needed),
      jsonb_build_object('needed', v_needed, 'fits', cardinality(v_slots)));
  end if;

  with born as (
    insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id, sequence_number,
                                 occurrence_start_utc, scheduled_start_utc, scheduled_end_utc,
                                 status_set_by, updated_by_user_id, updated_by_role)
    select v_match.id, v_match.tutor_user_id, v_match.student_user_id, v_package.id,
           (select coalesce(max(s.sequence_number), 0) from public.sessions s where s.package_id = v_package.id)
             + (row_number() over (order by slot))::integer,
           lower(slot), lower(slot), upper(slot), 'admin', p_caller_id, 'admin'
      from unnest(v_slots) as slot
     order by slot
    on conflict do nothing
    returning id, scheduled_start_utc
  )
  select array_agg(id),
         array(select slot from unnest(v_slots) as slot
               where not exists (select from born b where b.scheduled_start_utc = lower(slot)))
    into v_born, v_lost from born;
  if cardinality(v_lost) > 0 then
    perform private.refuse(409, 'slot_taken',
      format('%s of %s sessions would meet another live session of the tutor or the student.',
             cardinality(v_lost), cardinality(v_slots)),
      jsonb_build_object('conflicts', private.slot_conflicts(v_match, v_lost, coalesce(v_born, '{}'))));
  end if;

  update public.matches set status = 'active' where id = v_match.id and status <> 'active';
  update public.requests set status = 'active' where id = v_match.request_id and status <> 'active';
  created := cardinality(v_born);
end;
$$;
comment on function private.write_plan(uuid, uuid, date, text, jsonb, text, text, boolean, boolean, uuid) is
  'Writes one planned package, or refuses and writes nothing; creates none where there are sessions already, unless asked to fill.';

create function private.generate_sessions(
  p_match_id uuid, p_package_id uuid, p_from_date date, p_fingerprint text, p_occurrences jsonb,
  p_plan_hash text, p_expected_plan_hash text, p_allow_partial boolean, p_fill boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_written record;
begin
  v_written := private.write_plan(p_match_id, p_package_id, p_from_date, p_fingerprint, p_occurrences,
                                  p_plan_hash, p_expected_plan_hash, p_allow_partial, p_fill, v_caller_id);
  return private.generated_answer(p_match_id, v_written.package_id, v_written.created, v_caller_id);
end;
$$;

create function private.slots_of(p_occurrences jsonb, p_duration_mins integer) returns tstzrange[]
language plpgsql immutable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_slots tstzrange[];
begin
  if jsonb_typeof(p_occurrences) is distinct from 'array' or jsonb_array_length(p_occurrences) > 20 then
    perform private.refuse(422, 'invalid', 'occurrences must be a list of at most 20.', '{"field": "occurrences"}');
  end if;
  begin
    select coalesce(array_agg(tstzrange((o ->> 'start_utc')::timestamptz, (o ->> 'end_utc')::timestamptz) order by o ->> 'start_utc'), '{}')
      into v_slots from jsonb_array_elements(p_occurrences) as o;
  exception when data_exception then
    v_slots := null;
  end;
  if v_slots is null
     or cardinality(v_slots) <> (select count(distinct lower(slot)) from unnest(v_slots) as slot)
     or exists (select from unnest(v_slots) as slot
                 where lower(slot) is null or upper(slot) is null
                    or upper(slot) - lower(slot) <> make_interval(mins => p_duration_mins)) then
    perform private.refuse(422, 'invalid', 'Every occurrence needs a start_utc of its own and an end_utc, as far apart as the pattern says.',
                           '{"field": "occurrences"}');
  end if;
  return v_slots;
end;
$$;
comment on function private.slots_of(jsonb, integer) is
  'A plan''s occurrences as ranges; a null length is not compared. Refuses: 422 invalid.';

create function private.generated_answer(p_match_id uuid, p_package_id uuid, p_created integer, p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'created', p_created, 'match_id', p_match_id, 'package_id', p_package_id,
    'sessions', private.session_documents(array(select id from public.sessions where package_id = p_package_id), p_caller_id),
    'viewer_timezone', (select timezone from public.profiles where id = p_caller_id))
$$;

create function public.generate_sessions(
  p_match_id uuid, p_package_id uuid default null, p_from_date date default null, p_fingerprint text default null,
  p_occurrences jsonb default '[]', p_plan_hash text default null, p_expected_plan_hash text default null,
  p_allow_partial boolean default false, p_fill boolean default false
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.generate_sessions(
  p_match_id, p_package_id, p_from_date, p_fingerprint, p_occurrences, p_plan_hash, p_expected_plan_hash, p_allow_partial, p_fill);
comment on function public.generate_sessions(uuid, uuid, date, text, jsonb, text, text, boolean, boolean) is
  'Admins write a planned month, all or nothing; asked again it answers with the same sessions. Refuses: 401, 403 not_allowed, 404, 409 plan_changed, slot_taken, illegal_transition, 422 window_too_short, no_active_package, package_required, invalid.';
grant execute on function
  private.generate_sessions(uuid, uuid, date, text, jsonb, text, text, boolean, boolean),
  public.generate_sessions(uuid, uuid, date, text, jsonb, text, text, boolean, boolean) to authenticated;

create function private.add_extra_session(
  p_match_id uuid, p_start_utc timestamptz, p_reason text, p_duration_mins integer, p_package_id uuid
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_match public.matches;
  v_package public.packages;
  v_slot tstzrange;
  v_session_id uuid;
begin
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  perform from public.requests where id = v_match.request_id for update;
  select * into v_match from public.matches where id = p_match_id for update;
  if v_match.status = 'ended' then
    perform private.refuse(409, 'illegal_transition', 'The match has ended.');
  end if;
  if btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say why the session is added.', '{"field": "reason"}');
  end if;
  if coalesce(p_duration_mins, 60) not between 15 and 480 then
    perform private.refuse(422, 'invalid', 'duration_mins must be 15 to 480.', '{"field": "duration_mins"}');
  end if;
  if p_start_utc is null or not isfinite(p_start_utc) then
    perform private.refuse(422, 'invalid', 'start_utc must be a time.', '{"field": "start_utc"}');
  end if;
  if p_start_utc < private.now() then
    perform private.refuse(422, 'start_in_past', 'A session cannot be added in the past.');
  end if;
  v_slot := tstzrange(p_start_utc, p_start_utc + make_interval(
    mins => coalesce(p_duration_mins, (v_match.schedule_pattern ->> 'duration_mins')::integer, 60)));
  perform private.lock_people(v_match.tutor_user_id, v_match.student_user_id);
  perform private.lock_slots(v_match, array[v_slot]);
  v_package := private.package_for(v_match, p_package_id);
  select * into v_package from public.packages where id = v_package.id for update;
  if v_package.status <> 'active' then
    perform private.refuse(422, 'no_active_package', 'The package is cancelled.');
  end if;
  if private.sessions_needed(v_package) = 0 then
    perform private.refuse_if(private.exhausted_refusal(v_package.id));
  end if;
  insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id, sequence_number,
                               scheduled_start_utc, scheduled_end_utc, status_reason,
                               status_set_by, updated_by_user_id, updated_by_role)
  select v_match.id, v_match.tutor_user_id, v_match.student_user_id, v_package.id,
         (select coalesce(max(sequence_number), 0) + 1 from public.sessions where package_id = v_package.id),
         lower(v_slot), upper(v_slot), p_reason, 'admin', v_caller_id, 'admin'
  on conflict do nothing
  returning id into v_session_id;
  if v_session_id is null then
    perform private.refuse(409, 'slot_taken', 'The tutor or the student has another live session then.',
      jsonb_build_object('conflicts', private.slot_conflicts(v_match, array[v_slot])));
  end if;
  update public.matches set status = 'active' where id = v_match.id and status <> 'active';
  update public.requests set status = 'active' where id = v_match.request_id and status <> 'active';
  return private.session_answer(v_session_id, v_caller_id);
end;
$$;

create function public.add_extra_session(
  p_match_id uuid, p_start_utc timestamptz, p_reason text, p_duration_mins integer default null, p_package_id uuid default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.add_extra_session(p_match_id, p_start_utc, p_reason, p_duration_mins, p_package_id);
comment on function public.add_extra_session(uuid, timestamptz, text, integer, uuid) is
  'Admins add one session, a make-up, to a package that still lacks one. Refuses: 401, 402 package_exhausted, 403 not_allowed, 404, 409 slot_taken, illegal_transition, 422 reason_required, start_in_past, no_active_package, package_required, invalid.';
grant execute on function
  private.add_extra_session(uuid, timestamptz, text, integer, uuid),
  public.add_extra_session(uuid, timestamptz, text, integer, uuid) to authenticated;

insert into private.event_types (name, description) values
  ('match.ended', 'A match has ended; its sessions to come were cancelled.');

create function private.end_match(p_match_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_match public.matches;
  v_cancelled uuid[] := '{}';
begin
  select * into v_match from public.matches where id = p_match_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  perform from public.requests where id = v_match.request_id for update;
  select * into v_match from public.matches where id = p_match_id for update;
  if v_match.status <> 'ended' then
    if btrim(coalesce(p_reason, '')) = '' then
      perform private.refuse(422, 'reason_required', 'Say why the match ends.', jsonb_build_object('field', 'reason'));
    end if;
    select coalesce(array_agg(id), '{}') into v_cancelled from (
      select id from public.sessions
       where match_id = p_match_id
         and (status = 'rescheduled' or (status = 'scheduled' and scheduled_start_utc > private.now()))
       order by id for update) as open_ones;
    update public.sessions
       set status = 'cancelled', status_reason = btrim(p_reason),
           version = version + 1, updated_by_user_id = v_caller_id, updated_by_role = 'admin'
     where id = any (v_cancelled);
    update public.matches set status = 'ended' where id = p_match_id;
    update public.requests set status = 'open' where id = v_match.request_id and status <> 'closed';
    perform private.record_event('match.ended', 'match', p_match_id,
      jsonb_build_object('match_id', p_match_id, 'cancelled', to_jsonb(v_cancelled)), private.now());
  end if;
  return jsonb_build_object('match', private.match_document(p_match_id), 'cancelled', to_jsonb(v_cancelled));
end;
$$;

create function public.end_match(p_match_id uuid, p_reason text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.end_match(p_match_id, p_reason);
comment on function public.end_match(uuid, text) is
  'Admins end a match and cancel its sessions to come and its parked ones; the request is open again. Refuses: 401, 403 not_allowed, 404, 422 reason_required.';
grant execute on function private.end_match(uuid, text), public.end_match(uuid, text) to authenticated;
