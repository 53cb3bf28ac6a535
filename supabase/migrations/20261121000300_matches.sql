-- 3. Requests and matches
--
-- A request is a student's wish to be taught. A match answers it with a tutor and carries what the
-- lessons have in common: the weekly pattern and the Meet link.
--
--   request   open → matched (create_match) → active (generate_sessions) → closed (update_request)
--   match     proposed (create_match) → active (generate_sessions, add_extra_session) → ended
--
-- A request has at most one match that has not ended; when a tutor leaves, the match ends and another is
-- made. A match with sessions keeps its tutor and its student: the sessions' foreign key sees to it.
-- Ending a match cancels sessions and is left to a later chapter.

create type public.request_status as enum ('open', 'matched', 'active', 'closed');
create type public.match_status as enum ('proposed', 'active', 'ended');

create function private.is_schedule_pattern(p_pattern jsonb) returns boolean
language plpgsql stable strict
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_days numeric[];
begin
  if jsonb_typeof(p_pattern) <> 'object'
     or (select array_agg(key order by key) from jsonb_object_keys(p_pattern) as key)
        is distinct from array['days', 'duration_mins', 'time', 'timezone']
     or jsonb_typeof(p_pattern -> 'days') <> 'array'
     or jsonb_typeof(p_pattern -> 'duration_mins') <> 'number'
     or jsonb_typeof(p_pattern -> 'time') <> 'string'
     or jsonb_typeof(p_pattern -> 'timezone') <> 'string'
     or exists (select from jsonb_array_elements(p_pattern -> 'days') as day where jsonb_typeof(day) <> 'number') then
    return false;
  end if;
  v_days := array(select day::numeric from jsonb_array_elements_text(p_pattern -> 'days') as day);
  return cardinality(v_days) between 1 and 7
     and v_days <@ array[1, 2, 3, 4, 5, 6, 7]::numeric[]
     and v_days = array(select distinct day from unnest(v_days) as day order by day)
     and p_pattern ->> 'time' ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
     and (p_pattern ->> 'duration_mins')::numeric between 15 and 480
     and (p_pattern ->> 'duration_mins')::numeric % 1 = 0
     and private.is_timezone(p_pattern ->> 'timezone');
end;
$$;
comment on function private.is_schedule_pattern(jsonb) is
  'Whether a document is {"timezone": IANA, "days": [1..7 ascending, Monday = 1], "time": "HH:MM", "duration_mins": 15..480}.';

create function private.is_meet_link(p_link text) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_link ~ '^https://meet\.google\.com/[a-z]{3}-[a-z]{4}-[a-z]{3}$';

create table public.requests (
  id uuid primary key default gen_random_uuid(),
  student_user_id uuid not null references public.profiles (id),
  subject text not null,
  level text,
  status public.request_status not null default 'open',
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint requests_subject_is_a_line check (private.is_line(subject, 120)),
  constraint requests_level_is_a_line check (private.is_line(level, 120)),
  constraint requests_of_one_student unique (id, student_user_id)
);
comment on table public.requests is 'A student''s wish to be taught a subject.';
comment on constraint requests_of_one_student on public.requests is 'Lets matches and packages refer to request and student together.';
create index requests_student on public.requests (student_user_id);

create table public.matches (
  id uuid primary key default gen_random_uuid(),
  request_id uuid not null,
  student_user_id uuid not null references public.profiles (id),
  tutor_user_id uuid not null references public.profiles (id),
  status public.match_status not null default 'proposed',
  schedule_pattern jsonb,
  meet_link text,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint matches_student_is_the_requests foreign key (request_id, student_user_id)
    references public.requests (id, student_user_id),
  constraint matches_of_two_people check (tutor_user_id <> student_user_id),
  constraint matches_schedule_pattern_is_valid check (private.is_schedule_pattern(schedule_pattern)),
  constraint matches_meet_link_is_google_meet check (private.is_meet_link(meet_link)),
  constraint matches_of_one_pair unique (id, tutor_user_id, student_user_id)
);
comment on table public.matches is 'A request and the tutor who answers it.';
comment on column public.matches.schedule_pattern is
  '{"timezone": IANA, "days": [1..7, Monday = 1], "time": "HH:MM", "duration_mins": minutes}: when lessons recur.';
comment on column public.matches.meet_link is 'The one Google Meet link of all its sessions.';
comment on constraint matches_of_one_pair on public.matches is 'Lets sessions refer to match, tutor and student together.';
create unique index matches_one_running on public.matches (request_id) where status <> 'ended';
create index matches_request on public.matches (request_id, student_user_id);
create index matches_tutor on public.matches (tutor_user_id);
create index matches_student on public.matches (student_user_id);

create trigger requests_touch before update on public.requests for each row execute function private.touch();
create trigger matches_touch before update on public.matches for each row execute function private.touch();
create trigger requests_audit after insert or update or delete on public.requests
  for each row execute function private.audit_change('request');
create trigger matches_audit after insert or update or delete on public.matches
  for each row execute function private.audit_change('match');

-- Policies and grants --------------------------------------------------------------------------------

create function private.counterparts() returns setof uuid
language sql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
  select student_user_id from public.matches where tutor_user_id = (select private.caller_id())
  union
  select tutor_user_id from public.matches where student_user_id = (select private.caller_id())
$$;
comment on function private.counterparts() is 'The people who share a match with the caller.';

alter table public.requests enable row level security;
alter table public.matches enable row level security;
grant select on public.requests, public.matches to authenticated, service_role;
grant execute on function private.counterparts() to authenticated;

create policy "People read themselves and whom they share a match with, admins all" on public.profiles
  for select to authenticated
  using (id = (select private.caller_id())
         or id in (select private.counterparts())
         or (select private.is_admin()));
create policy "Students read their own requests, tutors those of their matches, admins all" on public.requests
  for select to authenticated
  using (student_user_id = (select private.caller_id())
         or id in (select request_id from public.matches where tutor_user_id = (select private.caller_id()))
         or (select private.is_admin()));
create policy "Tutors and students read their own matches, admins all" on public.matches
  for select to authenticated
  using (tutor_user_id = (select private.caller_id())
         or student_user_id = (select private.caller_id())
         or (select private.is_admin()));

-- Functions ------------------------------------------------------------------------------------------

create function private.request_document(p_request_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object('id', r.id, 'student', private.person_card(p), 'subject', r.subject, 'level', r.level,
                            'status', r.status, 'created_at', r.created_at)
    from public.requests r join public.profiles p on p.id = r.student_user_id
   where r.id = p_request_id
$$;

create function private.match_document(p_match_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object('id', m.id, 'request_id', m.request_id, 'status', m.status,
                            'tutor', private.person_card(t), 'student', private.person_card(s),
                            'subject', r.subject, 'level', r.level,
                            'schedule_pattern', m.schedule_pattern, 'meet_link', m.meet_link,
                            'created_at', m.created_at, 'updated_at', m.updated_at)
    from public.matches m
    join public.requests r on r.id = m.request_id
    join public.profiles t on t.id = m.tutor_user_id
    join public.profiles s on s.id = m.student_user_id
   where m.id = p_match_id
$$;

create function private.create_request(p_subject text, p_level text, p_student_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_student_id uuid := coalesce(p_student_id, v_caller_id);
  v_request_id uuid;
begin
  if v_student_id <> v_caller_id or not private.has_role(v_caller_id, 'student') then
    perform private.require_admin();
  else
    perform private.limit_calls('create_request', 20, interval '1 day');
  end if;
  perform private.require_person(v_student_id, 'student', 'student_id');
  insert into public.requests (student_user_id, subject, level)
  values (v_student_id, p_subject, nullif(p_level, ''))
  returning id into v_request_id;
  return private.request_document(v_request_id);
end;
$$;

create function public.create_request(p_subject text, p_level text default null, p_student_id uuid default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_request(p_subject, p_level, p_student_id);
comment on function public.create_request(text, text, uuid) is
  'A student asks to be taught, up to 20 times a day; an admin asks for any student. Refuses: 401, 403 not_allowed, 422 invalid, 429 too_many_requests.';
grant execute on function private.create_request(text, text, uuid), public.create_request(text, text, uuid) to authenticated;

create function private.update_request(p_request_id uuid, p_subject text, p_level text, p_status public.request_status) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.requests;
  v_is_matched boolean;
begin
  perform private.require_admin();
  select * into v_request from public.requests where id = p_request_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such request.');
  end if;
  v_is_matched := exists (select from public.matches where request_id = p_request_id and status <> 'ended');
  if p_status in ('matched', 'active') and p_status <> v_request.status then
    perform private.refuse(422, 'invalid', 'A request becomes matched and active by its match; set open or closed.',
                           jsonb_build_object('field', 'status'));
  end if;
  if p_status <> v_request.status and v_is_matched then
    perform private.refuse(409, 'in_use', 'The request has a match that has not ended.');
  end if;
  update public.requests
     set subject = coalesce(p_subject, subject),
         level = nullif(coalesce(p_level, level), ''),
         status = coalesce(p_status, status)
   where id = p_request_id;
  return private.request_document(p_request_id);
end;
$$;

create function public.update_request(
  p_request_id uuid, p_subject text default null, p_level text default null, p_status public.request_status default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_request(p_request_id, p_subject, p_level, p_status);
comment on function public.update_request(uuid, text, text, public.request_status) is
  'Admins change, close or reopen a request; null keeps, '''' clears the level. Refuses: 401, 403 not_allowed, 404, 409 in_use, 422 invalid.';
grant execute on function
  private.update_request(uuid, text, text, public.request_status),
  public.update_request(uuid, text, text, public.request_status) to authenticated;

create function private.create_match(p_request_id uuid, p_tutor_id uuid, p_schedule_pattern jsonb, p_meet_link text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.requests;
  v_match_id uuid;
begin
  perform private.require_admin();
  select * into v_request from public.requests where id = p_request_id for update;
  if not found then
    perform private.refuse(422, 'invalid', 'request_id must name a request.', jsonb_build_object('field', 'request_id'));
  end if;
  perform private.require_person(p_tutor_id, 'tutor', 'tutor_id');
  if p_tutor_id = v_request.student_user_id then
    perform private.refuse(422, 'invalid', 'Nobody tutors themselves.', jsonb_build_object('field', 'tutor_id'));
  end if;
  if v_request.status = 'closed' then
    perform private.refuse(409, 'in_use', 'The request is closed; reopen it first.');
  end if;
  if exists (select from public.matches where request_id = p_request_id and status <> 'ended') then
    perform private.refuse(409, 'already_exists', 'The request has a match that has not ended.');
  end if;
  insert into public.matches (request_id, student_user_id, tutor_user_id, schedule_pattern, meet_link)
  values (p_request_id, v_request.student_user_id, p_tutor_id, p_schedule_pattern, nullif(p_meet_link, ''))
  returning id into v_match_id;
  update public.requests set status = 'matched' where id = p_request_id and status = 'open';
  return private.match_document(v_match_id);
end;
$$;

create function public.create_match(
  p_request_id uuid, p_tutor_id uuid, p_schedule_pattern jsonb default null, p_meet_link text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_match(p_request_id, p_tutor_id, p_schedule_pattern, p_meet_link);
comment on function public.create_match(uuid, uuid, jsonb, text) is
  'Admins give a request its tutor. Refuses: 401, 403 not_allowed, 409 already_exists, in_use, 422 invalid.';
grant execute on function
  private.create_match(uuid, uuid, jsonb, text), public.create_match(uuid, uuid, jsonb, text) to authenticated;

create function private.update_match(p_match_id uuid, p_tutor_id uuid, p_meet_link text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
begin
  perform private.require_admin();
  select * into v_match from public.matches where id = p_match_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  if p_tutor_id <> v_match.tutor_user_id then
    perform private.require_person(p_tutor_id, 'tutor', 'tutor_id');
    if p_tutor_id = v_match.student_user_id then
      perform private.refuse(422, 'invalid', 'Nobody tutors themselves.', jsonb_build_object('field', 'tutor_id'));
    end if;
    if v_match.status <> 'proposed' then
      perform private.refuse(409, 'in_use', 'A match with sessions keeps its tutor; end it and make another.');
    end if;
  end if;
  update public.matches
     set tutor_user_id = coalesce(p_tutor_id, tutor_user_id),
         meet_link = nullif(coalesce(p_meet_link, meet_link), '')
   where id = p_match_id;
  return private.match_document(p_match_id);
end;
$$;

create function public.update_match(p_match_id uuid, p_tutor_id uuid default null, p_meet_link text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_match(p_match_id, p_tutor_id, p_meet_link);
comment on function public.update_match(uuid, uuid, text) is
  'Admins change the tutor before the first sessions, or the Meet link ('''' clears). Refuses: 401, 403 not_allowed, 404, 409 in_use, 422 invalid.';
grant execute on function private.update_match(uuid, uuid, text), public.update_match(uuid, uuid, text) to authenticated;

create function private.set_match_schedule(p_match_id uuid, p_schedule_pattern jsonb, p_meet_link text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match public.matches;
begin
  perform private.require_admin();
  select * into v_match from public.matches where id = p_match_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such match.');
  end if;
  if v_match.status = 'ended' then
    perform private.refuse(409, 'in_use', 'The match has ended.');
  end if;
  if p_schedule_pattern is null or not private.is_schedule_pattern(p_schedule_pattern) then
    perform private.refuse(422, 'invalid', 'The pattern needs timezone, days, time and duration_mins.',
                           jsonb_build_object('field', 'schedule_pattern'));
  end if;
  update public.matches
     set schedule_pattern = p_schedule_pattern, meet_link = nullif(coalesce(p_meet_link, meet_link), '')
   where id = p_match_id;
  return private.match_document(p_match_id);
end;
$$;

create function public.set_match_schedule(p_match_id uuid, p_schedule_pattern jsonb, p_meet_link text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.set_match_schedule(p_match_id, p_schedule_pattern, p_meet_link);
comment on function public.set_match_schedule(uuid, jsonb, text) is
  'Admins set when lessons recur, and the Meet link (null keeps, '''' clears). Sessions that exist stay. Refuses: 401, 403 not_allowed, 404, 409 in_use, 422 invalid.';
grant execute on function
  private.set_match_schedule(uuid, jsonb, text), public.set_match_schedule(uuid, jsonb, text) to authenticated;
