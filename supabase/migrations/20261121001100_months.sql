-- 11. Months
--
-- The end of the month, for a whole house: `renew_package` proposes or sells the next package, `month_inputs` reads
-- what the plans of many matches depend on, and `generate_month` writes a chunk of such plans, each in a
-- savepoint of its own, so that one match's refusal stops nobody else's.
--
-- A run is a walk over the active packages without sessions whose window meets the month, in order of id.
-- It needs no memory: sent again, it finds those that still lack their sessions. A chunk takes all its locks
-- (requests, matches, people) before its first write, in the order that every other function takes them.

create function private.month_inputs(
  p_month date, p_match_ids uuid[], p_after_package_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 20);
  v_left integer;
  v_inputs jsonb;
begin
  perform private.require_admin();
  if p_month is null or not isfinite(p_month) or extract(day from p_month) <> 1 then
    perform private.refuse(422, 'invalid', 'month must be the first day of a month.', jsonb_build_object('field', 'month'));
  end if;
  if v_limit not between 1 and 100 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 100.', jsonb_build_object('field', 'limit'));
  end if;
  with due as materialized (
    select package from public.packages as package
     where status = 'active'
       and daterange(start_date, end_date, '[]') && daterange(p_month, (p_month + interval '1 month')::date)
       and (p_after_package_id is null or id > p_after_package_id)
       and not exists (select from public.sessions where package_id = package.id)
       and exists (select from public.matches
                    where request_id = package.request_id and status <> 'ended'
                      and (p_match_ids is null or matches.id = any (p_match_ids)))
  )
  select (select count(*) from due),
         (select coalesce(jsonb_agg(private.plan_inputs(m, chunk.package, null) order by (chunk.package).id), '[]')
            from (select package from due order by (package).id limit v_limit) as chunk
            join public.matches m on m.request_id = (chunk.package).request_id and m.status <> 'ended')
    into v_left, v_inputs;
  return jsonb_build_object('inputs', v_inputs, 'left', v_left, 'has_more', v_left > v_limit);
end;
$$;

create function public.month_inputs(
  p_month date, p_match_ids uuid[] default null, p_after_package_id uuid default null, p_limit integer default 20
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.month_inputs(p_month, p_match_ids, p_after_package_id, p_limit);
comment on function public.month_inputs(date, uuid[], uuid, integer) is
  'Admins read what the plans of a month depend on: active packages without sessions whose window meets it, a chunk at a time in order of package, and how many are left with it. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.month_inputs(date, uuid[], uuid, integer), public.month_inputs(date, uuid[], uuid, integer) to authenticated;

create function private.generate_month(p_plans jsonb, p_allow_partial boolean) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_match_ids uuid[];
  v_plan record;
  v_results jsonb := '[]';
  v_state text;
  v_code text;
  v_detail text;
  v_hint text;
begin
  if jsonb_typeof(p_plans) is distinct from 'array' or jsonb_array_length(p_plans) > 100 then
    perform private.refuse(422, 'invalid', 'plans must be a list of at most 100.', jsonb_build_object('field', 'plans'));
  end if;
  v_match_ids := array(select match_id from jsonb_to_recordset(p_plans) as plan (match_id uuid));
  perform from public.requests where id in (select request_id from public.matches where id = any (v_match_ids))
    order by id for update;
  perform from public.matches where id = any (v_match_ids) order by id for update;
  perform from public.profiles
    where id in (select unnest(array[tutor_user_id, student_user_id]) from public.matches where id = any (v_match_ids))
    order by id for no key update;
  perform from public.sessions s
    where s.status in ('scheduled', 'in_progress')
      and exists (
        select from jsonb_to_recordset(p_plans) as plan (match_id uuid, occurrences jsonb)
          join public.matches m on m.id = plan.match_id
         cross join jsonb_to_recordset(plan.occurrences) as slot (start_utc timestamptz, end_utc timestamptz)
         where (s.tutor_user_id = m.tutor_user_id or s.student_user_id = m.student_user_id)
           and slot.start_utc < s.scheduled_end_utc and s.scheduled_start_utc < slot.end_utc)
    order by id for update;
  perform from public.packages
    where id in (select package_id from jsonb_to_recordset(p_plans) as plan (package_id uuid))
    order by id for update;

  for v_plan in
    select * from jsonb_to_recordset(p_plans)
      as plan (match_id uuid, package_id uuid, fingerprint text, occurrences jsonb, plan_hash text)
  loop
    begin
      v_results := v_results || jsonb_build_object(
        'match_id', v_plan.match_id, 'package_id', v_plan.package_id,
        'created', (private.write_plan(v_plan.match_id, v_plan.package_id, null, v_plan.fingerprint, v_plan.occurrences,
                                       v_plan.plan_hash, null, p_allow_partial, false, v_caller_id)).created);
    exception when others then
      get stacked diagnostics v_state = returned_sqlstate, v_code = message_text,
                              v_detail = pg_exception_detail, v_hint = pg_exception_hint;
      if v_state !~ '^PT' then
        v_code := 'failed';
        v_detail := 'The database could not write this month (' || v_state || ').';
        v_hint := '';
      end if;
      v_results := v_results || (coalesce(nullif(v_hint, ''), '{}')::jsonb || jsonb_build_object(
        'match_id', v_plan.match_id, 'package_id', v_plan.package_id,
        'created', 0, 'code', v_code, 'detail', v_detail));
    end;
  end loop;
  return jsonb_build_object('results', v_results);
end;
$$;

create function public.generate_month(p_plans jsonb, p_allow_partial boolean default false) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.generate_month(p_plans, p_allow_partial);
comment on function public.generate_month(jsonb, boolean) is
  'Admins write the planned months of many matches, each all or nothing; a refusal is told in that match''s result ("code", "detail") and stops no other. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function private.generate_month(jsonb, boolean), public.generate_month(jsonb, boolean) to authenticated;

create function private.renew_package(p_package_id uuid, p_create boolean, p_tier_sessions integer, p_start_date date, p_end_date date) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_package public.packages;
  v_match public.matches;
  v_start date;
  v_end date;
  v_successor uuid;
  v_created jsonb;
begin
  perform private.require_admin();
  select * into v_package from public.packages where id = p_package_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such package.');
  end if;
  perform from public.requests where id = v_package.request_id for update;
  select id into v_successor from public.packages
   where request_id = v_package.request_id and status = 'active' and start_date > v_package.start_date
   order by start_date limit 1;
  select * into v_match from public.matches where request_id = v_package.request_id and status <> 'ended';
  v_start := coalesce(p_start_date, v_package.end_date + 1);
  if v_start <= v_package.start_date then
    perform private.refuse(422, 'invalid', 'The next package begins after this one does.',
                           jsonb_build_object('field', 'start_date'));
  end if;
  v_end := coalesce(p_end_date, case
    when extract(day from v_package.start_date) = 1 and extract(day from v_package.end_date + 1) = 1
      -- Whole months stay whole months, however long the next ones are.
      then (v_start + age(v_package.end_date + 1, v_package.start_date))::date - 1
    else v_start + (v_package.end_date - v_package.start_date) end);
  if coalesce(p_create, false) then
    if v_successor is not null then
      perform private.refuse(409, 'already_exists', 'This package has been renewed already.',
                             jsonb_build_object('package_id', v_successor));
    end if;
    v_created := private.create_package(v_package.request_id, coalesce(p_tier_sessions, v_package.tier_sessions), v_start, v_end, 0);
  end if;
  return jsonb_build_object(
    'proposal', jsonb_build_object(
      'request_id', v_package.request_id, 'match_id', v_match.id,
      'tier_sessions', coalesce(p_tier_sessions, v_package.tier_sessions),
      'start_date', v_start, 'end_date', v_end,
      'schedule_pattern', v_match.schedule_pattern, 'meet_link', v_match.meet_link),
    'renewed_by', v_successor,
    'package', v_created);
end;
$$;

create function public.renew_package(
  p_package_id uuid, p_create boolean default false, p_tier_sessions integer default null,
  p_start_date date default null, p_end_date date default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.renew_package(p_package_id, p_create, p_tier_sessions, p_start_date, p_end_date);
comment on function public.renew_package(uuid, boolean, integer, date, date) is
  'Admins see the package that would follow this one (same tier, the next window, the match''s pattern) and, with p_create, sell it. Refuses: 401, 403 not_allowed, 404, 409 already_exists, 422 invalid.';
grant execute on function
  private.renew_package(uuid, boolean, integer, date, date),
  public.renew_package(uuid, boolean, integer, date, date) to authenticated;
