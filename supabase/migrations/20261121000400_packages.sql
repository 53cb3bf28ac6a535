-- 4. Packages
--
-- A package is what a family paid for: 8, 12 or 20 sessions of one request within a window of dates.
-- `create_package` sells it, `generate_sessions` fills it, sessions that took place use it up.
--
-- `sessions_used` is a cache of the credit ledger (a later chapter): only the ledger's trigger moves it,
-- and a value that the ledger does not bear out is refused whoever writes it. `opening_used` is what was
-- used before Lessonkeeper, said once at creation. A package is active until it is cancelled; exhausted
-- and expired are read off the row. Expiry stops generation, never charging.

create type public.package_status as enum ('active', 'cancelled');

create table public.packages (
  id uuid primary key default gen_random_uuid(),
  request_id uuid not null,
  student_user_id uuid not null references public.profiles (id),
  tier_sessions integer not null,
  opening_used integer not null default 0,
  sessions_used integer not null default 0,
  start_date date not null,
  end_date date not null,
  status public.package_status not null default 'active',
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint packages_student_is_the_requests foreign key (request_id, student_user_id)
    references public.requests (id, student_user_id),
  constraint packages_tier_is_sold check (tier_sessions in (8, 12, 20)),
  constraint packages_opening_within_tier check (opening_used between 0 and tier_sessions),
  constraint packages_used_within_tier check (sessions_used between 0 and tier_sessions),
  constraint packages_window_in_order check (end_date >= start_date and end_date - start_date <= 730),
  constraint packages_window_in_this_century check (start_date >= date '2000-01-01' and end_date < date '2101-01-01'),
  constraint packages_of_one_student unique (id, student_user_id)
);
comment on table public.packages is 'Prepaid sessions of one request, with a window of dates (both included).';
comment on column public.packages.tier_sessions is 'How many sessions were sold: 8, 12 or 20.';
comment on column public.packages.start_date is 'The first date on which sessions may be generated, in the zone of the pattern.';
comment on column public.packages.end_date is 'The last such date. Its passing stops generation, never charging.';
comment on column public.packages.sessions_used is 'Cache of the credit ledger plus opening_used; moved by the ledger alone.';
comment on column public.packages.opening_used is 'Sessions used before this package was entered here; never changes.';
comment on constraint packages_tier_is_sold on public.packages is 'A package has 8, 12 or 20 sessions.';
comment on constraint packages_opening_within_tier on public.packages is 'No more can be used already than the package has.';
comment on constraint packages_used_within_tier on public.packages is 'No more can be used than the package has.';
comment on constraint packages_window_in_order on public.packages is 'A window ends on or after its start and is at most two years long.';
comment on constraint packages_window_in_this_century on public.packages is 'A window lies between the years 2000 and 2100.';
comment on constraint packages_of_one_student on public.packages is 'Lets sessions refer to package and student together.';
create index packages_request on public.packages (request_id, student_user_id);
create index packages_student on public.packages (student_user_id);

create trigger packages_touch before update on public.packages for each row execute function private.touch();
create trigger packages_audit after insert or update of tier_sessions, start_date, end_date, status on public.packages
  for each row execute function private.audit_change('package');
create trigger packages_stay before delete or truncate on public.packages
  for each statement execute function private.refuse_change('Packages are never deleted: cancel them with update_package.');

create function private.open_package() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  new.sessions_used := new.opening_used;
  return new;
end;
$$;
create trigger packages_open before insert on public.packages
  for each row execute function private.open_package();

alter table public.packages enable row level security;
grant select on public.packages to authenticated, service_role;
create policy "Students read their own packages, tutors those of their matches, admins all" on public.packages
  for select to authenticated
  using (student_user_id = (select private.caller_id())
         or request_id in (select request_id from public.matches where tutor_user_id = (select private.caller_id()))
         or (select private.is_admin()));

create function private.package_document(p_package public.packages) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', p_package.id, 'request_id', p_package.request_id, 'student_id', p_package.student_user_id,
  'tier_sessions', p_package.tier_sessions, 'opening_used', p_package.opening_used,
  'sessions_used', p_package.sessions_used, 'sessions_left', p_package.tier_sessions - p_package.sessions_used,
  'start_date', p_package.start_date, 'end_date', p_package.end_date, 'status', p_package.status,
  'standing', case
    when p_package.status = 'cancelled' then 'cancelled'
    when p_package.sessions_used = p_package.tier_sessions then 'exhausted'
    when p_package.end_date < private.now()::date then 'expired'
    else 'active' end);
comment on function private.package_document(public.packages) is
  'A package with what is left and how it stands; expired by the date in UTC.';

create function private.create_package(
  p_request_id uuid, p_tier_sessions integer, p_start_date date, p_end_date date, p_opening_used integer
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_request public.requests;
  v_package public.packages;
  v_violated text;
begin
  perform private.require_admin();
  select * into v_request from public.requests where id = p_request_id;
  if not found then
    perform private.refuse(422, 'invalid', 'request_id must name a request.', jsonb_build_object('field', 'request_id'));
  end if;
  insert into public.packages (request_id, student_user_id, tier_sessions, opening_used, start_date, end_date)
  values (p_request_id, v_request.student_user_id, p_tier_sessions, coalesce(p_opening_used, 0), p_start_date, p_end_date)
  returning * into v_package;
  return private.package_document(v_package);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.create_package(
  p_request_id uuid, p_tier_sessions integer, p_start_date date, p_end_date date, p_opening_used integer default 0
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_package(p_request_id, p_tier_sessions, p_start_date, p_end_date, p_opening_used);
comment on function public.create_package(uuid, integer, date, date, integer) is
  'Admins sell 8, 12 or 20 sessions of a request. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.create_package(uuid, integer, date, date, integer),
  public.create_package(uuid, integer, date, date, integer) to authenticated;

create function private.update_package(
  p_package_id uuid, p_tier_sessions integer, p_start_date date, p_end_date date, p_status public.package_status
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_package public.packages;
  v_violated text;
begin
  perform private.require_admin();
  select * into v_package from public.packages where id = p_package_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such package.');
  end if;
  if p_tier_sessions < v_package.sessions_used then
    perform private.refuse(409, 'in_use', format('%s sessions of this package are used already.', v_package.sessions_used));
  end if;
  update public.packages
     set tier_sessions = coalesce(p_tier_sessions, tier_sessions),
         start_date = coalesce(p_start_date, start_date),
         end_date = coalesce(p_end_date, end_date),
         status = coalesce(p_status, status)
   where id = p_package_id
  returning * into v_package;
  return private.package_document(v_package);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_package(
  p_package_id uuid, p_tier_sessions integer default null, p_start_date date default null, p_end_date date default null,
  p_status public.package_status default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_package(p_package_id, p_tier_sessions, p_start_date, p_end_date, p_status);
comment on function public.update_package(uuid, integer, date, date, public.package_status) is
  'Admins change tier (never below what is used), window or status. Refuses: 401, 403 not_allowed, 404, 409 in_use, 422 invalid.';
grant execute on function
  private.update_package(uuid, integer, date, date, public.package_status),
  public.update_package(uuid, integer, date, date, public.package_status) to authenticated;
