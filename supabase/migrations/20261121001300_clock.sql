-- 13. The clock
--
-- Time moves sessions too: what nobody has begun is begun by the clock, delayed, and what was begun in time is
-- done at its end. `sweep_session_statuses` does that to whatever is due, oldest first, bounded, passing over
-- rows that somebody else is changing. It first tries all of them at once; when one fails it goes row by row,
-- and the failing one waits with a growing pause (`private.sweep_failures`) and stops nobody.
--
-- Two ways in, one sweep: the scheduler's, for everybody, with the service key; and
-- `refresh_session_statuses`, for the caller's own sessions, at most every 15 seconds. Reading never moves
-- anything. A session that would be completed without a credit left becomes delayed instead, so that a person
-- must look at it. Whatever the clock sets holds from the start or the end of the session, so that a late
-- sweep leaves the rows a punctual one would have left.

create table private.sweep_failures (
  session_id uuid primary key references public.sessions (id),
  failures integer not null,
  retry_at timestamptz not null,
  sqlstate text not null
);
comment on table private.sweep_failures is 'Sessions the clock could not move, and when it tries again.';
alter table private.sweep_failures enable row level security;

create table private.refreshes (
  profile_id uuid primary key references public.profiles (id) on delete cascade,
  refreshed_at timestamptz not null
);
comment on table private.refreshes is 'When a person last asked for their sessions to be brought up to date.';
alter table private.refreshes enable row level security;

create function private.move_by_clock(p_session_ids uuid[]) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  update public.sessions
     set status = case status when 'scheduled' then 'in_progress'::public.session_status_enum else 'done' end,
         status_reason = null, version = version + 1, updated_by_user_id = null, updated_by_role = 'clock'
   where id = any (p_session_ids)
$$;

create function private.move_one_by_clock(p_session_id uuid) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_state text;
begin
  begin
    perform private.move_by_clock(array[p_session_id]);
  exception when sqlstate 'PT402' then
    update public.sessions
       set is_delayed = true, version = version + 1, updated_by_user_id = null, updated_by_role = 'clock'
     where id = p_session_id;
  end;
  return true;
exception
  when others then
    get stacked diagnostics v_state = returned_sqlstate;
    insert into private.sweep_failures as f (session_id, failures, retry_at, sqlstate)
    values (p_session_id, 1, private.now() + interval '1 minute', v_state)
    on conflict (session_id) do update
      set failures = f.failures + 1,
          retry_at = private.now() + least(interval '1 day', interval '1 minute' * power(2, least(f.failures, 11))),
          sqlstate = excluded.sqlstate;
    return false;
end;
$$;
comment on function private.move_one_by_clock(uuid) is
  'Moves one due session, or makes it delayed when no credit is left, or notes the failure; false when it failed.';

create function private.sweep(p_user_id uuid, p_limit integer) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_begun_before timestamptz := v_now - (select make_interval(mins => delay_grace_mins) from public.settings);
  v_due public.sessions[];
  v_ids uuid[];
  v_id uuid;
  v_failed integer := 0;
begin
  -- A step into a live status takes its time again, so people come first here too; nothing below waits but for packages.
  with to_start as (
    select s from public.sessions s
      join public.profiles t on t.id = s.tutor_user_id
      join public.profiles u on u.id = s.student_user_id
     where s.status = 'scheduled' and s.scheduled_start_utc <= v_begun_before
       and (p_user_id is null or p_user_id in (s.tutor_user_id, s.student_user_id))
       and not exists (select from private.sweep_failures f where f.session_id = s.id and f.retry_at > v_now)
     order by s.scheduled_start_utc, s.id limit p_limit
       for update of s skip locked for no key update of t, u skip locked
  ), to_complete as (
    select s from public.sessions s
     where s.status = 'in_progress' and not s.is_delayed and s.scheduled_end_utc <= v_now
       and (p_user_id is null or p_user_id in (s.tutor_user_id, s.student_user_id))
       and not exists (select from private.sweep_failures f where f.session_id = s.id and f.retry_at > v_now)
     order by s.scheduled_end_utc, s.id limit p_limit for update skip locked
  )
  select array_agg(s order by due_at, (s).id), array_agg((s).id order by due_at, (s).id) into v_due, v_ids
    from (select s, (s).scheduled_start_utc as due_at from to_start
          union all select s, (s).scheduled_end_utc from to_complete) as due;
  -- Row by row they would be locked in another order than by the sweep beside this one.
  perform from public.packages
    where id in (select d.package_id from unnest(v_due) d where d.status = 'in_progress') order by id for update;
  begin
    perform private.move_by_clock(v_ids);
  exception when others then
    -- Oldest first: the last credit of a package goes to the lesson that ended first, however late the sweep.
    foreach v_id in array v_ids loop
      v_failed := v_failed + (not private.move_one_by_clock(v_id))::integer;
    end loop;
  end;
  delete from private.sweep_failures where session_id in (
    select f.session_id from private.sweep_failures f join public.sessions s on s.id = f.session_id
     where (f.session_id = any (v_ids) and f.retry_at <= v_now)
        or not (s.status = 'scheduled' or (s.status = 'in_progress' and not s.is_delayed))
       for update of f skip locked);
  return jsonb_build_object(
    'started', (select count(*) from unnest(v_due) d join public.sessions s using (id)
                 where d.status = 'scheduled' and s.status = 'in_progress'),
    'completed', (select count(*) from unnest(v_due) d join public.sessions s using (id)
                   where d.status = 'in_progress' and s.status = 'done'),
    'failed', v_failed,
    'more', coalesce(cardinality(v_due), 0) >= p_limit,
    'updates', (select coalesce(jsonb_agg(jsonb_build_object(
                         'session_id', s.id, 'from', d.status, 'to', s.status, 'is_delayed', s.is_delayed)
                       order by s.status_effective_at, s.id), '[]')
                  from unnest(v_due) d join public.sessions s using (id)
                 where (d.status, d.is_delayed) <> (s.status, s.is_delayed)));
end;
$$;
comment on function private.sweep(uuid, integer) is 'Applies the clock to what is due, of one person or of everybody; up to p_limit to begin and as many to complete.';

create function private.sweep_session_statuses(p_limit integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if p_limit is null or p_limit not between 1 and 5000 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 5000.', jsonb_build_object('field', 'limit'));
  end if;
  return private.sweep(null, p_limit);
end;
$$;

create function public.sweep_session_statuses(p_limit integer default 500) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.sweep_session_statuses(p_limit);
comment on function public.sweep_session_statuses(integer) is
  'The scheduler lets the clock move what is due; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function private.sweep_session_statuses(integer), public.sweep_session_statuses(integer) to service_role;

create function private.refresh_session_statuses() returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
begin
  insert into private.refreshes as r (profile_id, refreshed_at) values (v_caller_id, private.now())
  on conflict (profile_id) do update set refreshed_at = excluded.refreshed_at
    where r.refreshed_at <= private.now() - interval '15 seconds' or r.refreshed_at > private.now();
  if not found then
    return '{"started": 0, "completed": 0, "failed": 0, "more": false, "updates": []}';
  end if;
  return private.sweep(v_caller_id, 100);
end;
$$;

create function public.refresh_session_statuses() returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.refresh_session_statuses();
comment on function public.refresh_session_statuses() is
  'Lets the clock move the caller''s own due sessions; within 15 seconds of the last time it answers with nothing. Refuses: 401, 403 not_allowed.';
grant execute on function private.refresh_session_statuses(), public.refresh_session_statuses() to authenticated;

-- How a period went ----------------------------------------------------------------------------------

create function private.hours_of_tutors(p_from timestamptz, p_to timestamptz, p_tutor_id uuid) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
    with offered as (
      select a.tutor_user_id,
             -- How often the weekday falls on the dates of the period, in UTC.
             sum((private.minute_of(a.ends_at) - private.minute_of(a.starts_at))
                 * ((p_to::date - p_from::date - (7 + a.weekday - extract(isodow from p_from)::integer) % 7 + 6) / 7)) as minutes
        from public.availability a
       group by a.tutor_user_id
    ), booked as (
      select s.tutor_user_id, sum(extract(epoch from s.scheduled_end_utc - s.scheduled_start_utc) / 60) as minutes
        from public.sessions s
       where s.scheduled_start_utc >= p_from and s.scheduled_start_utc < p_to and s.status not in ('cancelled', 'rescheduled')
       group by s.tutor_user_id
    ), hours as (
      select tutor_user_id, round(coalesce(o.minutes, 0) / 60.0, 2) as offered, round(coalesce(b.minutes, 0) / 60.0, 2) as booked
        from offered o full join booked b using (tutor_user_id)
       where p_tutor_id is null or tutor_user_id = p_tutor_id
    )
    select jsonb_build_object(
      'offered', coalesce(sum(h.offered), 0), 'booked', coalesce(sum(h.booked), 0),
      'by_tutor', coalesce(jsonb_agg(jsonb_build_object('tutor', private.person_card(p), 'offered', h.offered, 'booked', h.booked)
                                     order by p.display_name, p.id), '[]'))
      from hours h join public.profiles p on p.id = h.tutor_user_id);
end;
$$;
comment on function private.hours_of_tutors(timestamptz, timestamptz, uuid) is
  'How many hours tutors can be booked in a period, by their weekly hours and before days off, and for how many they teach.';

create function private.get_metrics(p_from timestamptz, p_to timestamptz, p_tutor_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  if p_from is null or p_to is null or p_from >= p_to then
    perform private.refuse(422, 'invalid', 'from must be before to.', jsonb_build_object('field', 'from'));
  end if;
  return (
    with counted as (
      select s.tutor_user_id,
             count(*) as sessions,
             count(*) filter (where s.status = 'done') as done,
             count(*) filter (where s.status = 'no_show_student') as no_show_student,
             count(*) filter (where s.status = 'no_show_tutor') as no_show_tutor,
             count(*) filter (where s.status = 'cancelled') as cancelled,
             count(*) filter (where private.is_live(s.status)) as open,
             count(*) filter (where s.status = 'rescheduled') as parked,
             count(*) filter (where s.is_delayed) as delayed,
             count(*) filter (where exists (select from public.session_moves v where v.session_id = s.id)) as moved
        from public.sessions s
       where s.scheduled_start_utc >= p_from and s.scheduled_start_utc < p_to
         and (p_tutor_id is null or s.tutor_user_id = p_tutor_id)
       group by grouping sets ((s.tutor_user_id), ())
    ), rated as (
      select c.tutor_user_id,
             to_jsonb(c) - 'tutor_user_id' || jsonb_build_object(
               -- Of what took place or should have: neither cancelled nor still to come.
               'completion_rate', round(c.done::numeric / nullif(c.done + c.no_show_student + c.no_show_tutor, 0), 4),
               'no_show_student_rate', round(c.no_show_student::numeric / nullif(c.done + c.no_show_student + c.no_show_tutor, 0), 4),
               'no_show_tutor_rate', round(c.no_show_tutor::numeric / nullif(c.done + c.no_show_student + c.no_show_tutor, 0), 4)
             ) as figures
        from counted c
    )
    select jsonb_build_object(
      'from', p_from, 'to', p_to,
      'hours', private.hours_of_tutors(p_from, p_to, p_tutor_id),
      'total', (select figures from rated where tutor_user_id is null),
      'by_tutor', (select coalesce(jsonb_agg(jsonb_build_object('tutor', private.person_card(p)) || r.figures
                                             order by p.display_name, p.id), '[]')
                     from rated r join public.profiles p on p.id = r.tutor_user_id)));
end;
$$;

create function public.get_metrics(p_from timestamptz, p_to timestamptz, p_tutor_id uuid default null) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_metrics(p_from, p_to, p_tutor_id);
comment on function public.get_metrics(timestamptz, timestamptz, uuid) is
  'Admins see how the sessions that start in [from, to) went, in total and by tutor; rates are shares of what was resolved, null when nothing was; and the hours tutors offer and teach. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.get_metrics(timestamptz, timestamptz, uuid), public.get_metrics(timestamptz, timestamptz, uuid) to authenticated;
