-- 12. Import
--
-- A business that comes from elsewhere brings its people, matches and packages as three tables. `import_house`
-- enters them through the same functions an admin would call one by one, each line in a savepoint so that
-- every bad line is named and not only the first. All or nothing: one bad line refuses the whole, and a dry run
-- takes everything back and only the report stays.
--
-- A line refers to people by e-mail and to requests by student and subject; a match takes an open request that is
-- there, or files one. Lines that are there already are counted as known and change nothing, so that a corrected
-- file can be sent again. One import runs at a time, and it takes its locks before its first line, because lines
-- come in any order.

create function private.person_by_email(p_email text, p_role public.app_role, p_field text) returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_profile_id uuid := (select profile_id from public.accounts where email = lower(p_email));
begin
  perform private.require_person(v_profile_id, p_role, p_field);
  return v_profile_id;
end;
$$;

create function private.import_person(p_line jsonb) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_person record;
begin
  select * into v_person from jsonb_to_record(p_line)
    as line (email text, display_name text, timezone text, roles public.app_role[], phone text);
  if exists (select from public.accounts join public.user_roles using (profile_id) where email = lower(v_person.email)) then
    return false;
  end if;
  perform private.create_person(v_person.email, v_person.display_name, v_person.timezone, v_person.roles, v_person.phone, null, null);
  return true;
end;
$$;

create function private.import_match(p_line jsonb) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_line record;
  v_student_id uuid;
  v_tutor_id uuid;
  v_request_id uuid;
begin
  select * into v_line from jsonb_to_record(p_line)
    as line (student_email text, tutor_email text, subject text, level text, schedule_pattern jsonb, meet_link text);
  v_student_id := private.person_by_email(v_line.student_email, 'student', 'student_email');
  v_tutor_id := private.person_by_email(v_line.tutor_email, 'tutor', 'tutor_email');
  if exists (select from public.matches m join public.requests r on r.id = m.request_id
              where m.tutor_user_id = v_tutor_id and m.status <> 'ended'
                and r.student_user_id = v_student_id and r.subject = v_line.subject) then
    return false;
  end if;
  select id into v_request_id from public.requests
   where student_user_id = v_student_id and subject = v_line.subject and status = 'open'
   order by created_at, id limit 1;
  if not found then
    v_request_id := (private.create_request(v_line.subject, v_line.level, v_student_id) ->> 'id')::uuid;
  end if;
  perform private.create_match(v_request_id, v_tutor_id, v_line.schedule_pattern, v_line.meet_link);
  return true;
end;
$$;

create function private.import_package(p_line jsonb) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_line record;
  v_requests uuid[];
begin
  select * into v_line from jsonb_to_record(p_line)
    as line (student_email text, subject text, tier_sessions integer, opening_used integer, start_date date, end_date date);
  v_requests := array(
    select r.id from public.requests r
     where r.student_user_id = private.person_by_email(v_line.student_email, 'student', 'student_email')
       and r.subject = v_line.subject and r.status <> 'closed');
  if cardinality(v_requests) <> 1 then
    perform private.refuse(422, 'invalid',
      format('The student has %s open requests of that subject; a package needs exactly one.', cardinality(v_requests)),
      jsonb_build_object('field', 'subject'));
  end if;
  if exists (select from public.packages
              where request_id = v_requests[1] and start_date = v_line.start_date and end_date = v_line.end_date) then
    return false;
  end if;
  perform private.create_package(v_requests[1], v_line.tier_sessions, v_line.start_date, v_line.end_date, v_line.opening_used);
  return true;
end;
$$;

create function private.import_house(p_people jsonb, p_matches jsonb, p_packages jsonb, p_dry_run boolean) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_line record;
  v_is_new boolean;
  v_created jsonb := '{"people": 0, "matches": 0, "packages": 0}';
  v_known jsonb := '{"people": 0, "matches": 0, "packages": 0}';
  v_errors jsonb := '[]';
  v_state text;
  v_code text;
  v_detail text;
  v_hint text;
begin
  perform private.require_admin();
  perform pg_advisory_xact_lock(hashtextextended('lessonkeeper.import', 0));
  if exists (select from unnest(array[p_people, p_matches, p_packages]) as sheet
              where jsonb_typeof(sheet) is distinct from 'array' or jsonb_array_length(sheet) > 2000) then
    perform private.refuse(422, 'invalid', 'people, matches and packages must be lists of at most 2000 lines.');
  end if;
  perform from public.requests
    where student_user_id in (
      select profile_id from public.accounts
       where email in (select lower(line ->> 'student_email') from jsonb_array_elements(p_matches || p_packages) as line))
    order by id for update;
  perform from public.profiles
    where id in (
      select profile_id from public.accounts
       where email in (select lower(line ->> 'email') from jsonb_array_elements(p_people) as line))
    order by id for no key update;
  begin
    for v_line in
      select sheet, value as content,
             case when value ->> 'line' ~ '^[0-9]{1,9}$' then (value ->> 'line')::integer else ordinality end as number
        from (select 1 as rank, 'people' as sheet, p_people as lines
              union all select 2, 'matches', p_matches
              union all select 3, 'packages', p_packages) as sheets,
             jsonb_array_elements(lines) with ordinality
       order by rank, ordinality
    loop
      begin
        v_is_new := case v_line.sheet
          when 'people' then private.import_person(v_line.content)
          when 'matches' then private.import_match(v_line.content)
          else private.import_package(v_line.content) end;
        if v_is_new then
          v_created := jsonb_set(v_created, array[v_line.sheet], to_jsonb((v_created ->> v_line.sheet)::integer + 1));
        else
          v_known := jsonb_set(v_known, array[v_line.sheet], to_jsonb((v_known ->> v_line.sheet)::integer + 1));
        end if;
      exception when others then
        get stacked diagnostics v_state = returned_sqlstate, v_code = message_text,
                                v_detail = pg_exception_detail, v_hint = pg_exception_hint;
        if v_state !~ '^(PT|22|23)' then
          raise;  -- a deadlock or a fault of ours is no fault of the line
        end if;
        if v_state !~ '^PT' then
          -- What Postgres says of a value may show the row; the line's number is enough to find it.
          v_code := 'invalid';
          v_detail := 'A value of this line is missing or not valid.';
          v_hint := '';
        end if;
        v_errors := v_errors || (coalesce(nullif(v_hint, ''), '{}')::jsonb || jsonb_build_object(
          'sheet', v_line.sheet, 'line', v_line.number, 'code', v_code, 'message', v_detail));
      end;
    end loop;
    if p_dry_run or v_errors <> '[]' then
      raise exception using errcode = 'LK001', message = 'taken back';
    end if;
  exception when sqlstate 'LK001' then
    null;  -- the lines are undone, the report is not
  end;
  if not p_dry_run and v_errors <> '[]' then
    perform private.refuse(422, 'import_refused', 'Nothing was imported: some lines are not right.',
                           jsonb_build_object('errors', v_errors));
  end if;
  return jsonb_build_object(
    'imported', not p_dry_run, 'dry_run', p_dry_run,
    'created', v_created, 'known', v_known, 'errors', v_errors);
end;
$$;

create function public.import_house(
  p_people jsonb default '[]', p_matches jsonb default '[]', p_packages jsonb default '[]', p_dry_run boolean default true
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.import_house(p_people, p_matches, p_packages, coalesce(p_dry_run, true));
comment on function public.import_house(jsonb, jsonb, jsonb, boolean) is
  'Admins bring people, matches and packages from elsewhere, all or nothing; every bad line is named. A dry run only reports. Refuses: 401, 403 not_allowed, 422 import_refused, invalid.';
grant execute on function
  private.import_house(jsonb, jsonb, jsonb, boolean), public.import_house(jsonb, jsonb, jsonb, boolean) to authenticated;
