-- 5. Days off
--
-- When no lesson is planned: holidays of the whole house, and time off of one person, either whole days
-- in that person's own time zone or a range of instants. Generation skips them and keeps its number.
-- Entering time off moves nothing; it answers with the live sessions around it, so that an admin can.
-- Dates are compared with instants in Python alone, where the pinned zone data is.

create table public.holidays (
  id uuid primary key default gen_random_uuid(),
  on_date date not null,
  name text not null,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint holidays_date_once unique (on_date),
  constraint holidays_date_in_this_century check (on_date between date '2000-01-01' and date '2100-12-31'),
  constraint holidays_name_is_a_line check (private.is_line(name, 120))
);
comment on table public.holidays is 'Dates, in the zone of each pattern, on which the house gives no lessons.';
comment on column public.holidays.on_date is 'The whole day, in whichever zone a pattern has.';

create table public.time_off (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.profiles (id),
  starts_on date,
  ends_on date,
  starts_at timestamptz,
  ends_at timestamptz,
  note text,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint time_off_has_one_form check (
    (num_nulls(starts_on, ends_on) = 0 and num_nonnulls(starts_at, ends_at) = 0)
    or (num_nulls(starts_at, ends_at) = 0 and num_nonnulls(starts_on, ends_on) = 0)),
  constraint time_off_days_in_order check (ends_on >= starts_on and ends_on - starts_on <= 730),
  constraint time_off_range_in_order check (ends_at > starts_at and ends_at - starts_at <= interval '730 days'),
  constraint time_off_in_this_century check (
    coalesce(starts_on, date '2000-01-01') >= date '2000-01-01' and coalesce(ends_on, date '2100-12-31') < date '2101-01-01'
    and coalesce(starts_at, timestamptz '2000-01-01 00:00+00') >= timestamptz '2000-01-01 00:00+00'
    and coalesce(ends_at, timestamptz '2100-12-31 00:00+00') < timestamptz '2101-01-01 00:00+00'),
  constraint time_off_note_is_short check (char_length(note) <= 500)
);
comment on table public.time_off is 'When a tutor or a student is away: whole days in their own zone, or a range.';
comment on column public.time_off.starts_on is 'The first whole day off; then ends_on is the last, and both times are empty.';
comment on column public.time_off.starts_at is 'The first instant off; then ends_at ends it, and both days are empty.';
comment on column public.time_off.ends_on is 'The last day off, included.';
comment on column public.time_off.ends_at is 'The first instant after the time off.';
comment on constraint time_off_has_one_form on public.time_off is 'Time off is either first and last day or start and end, both of them.';
comment on constraint time_off_days_in_order on public.time_off is 'The last day is on or after the first, and at most two years later.';
comment on constraint time_off_range_in_order on public.time_off is 'The end is after the start, and at most two years later.';
comment on constraint time_off_in_this_century on public.time_off is 'Time off lies between the years 2000 and 2100.';
comment on constraint time_off_note_is_short on public.time_off is 'A note has at most 500 characters.';
create index time_off_user on public.time_off (user_id);

create trigger holidays_touch before update on public.holidays for each row execute function private.touch();
create trigger time_off_touch before update on public.time_off for each row execute function private.touch();
create trigger holidays_audit after insert or update or delete on public.holidays
  for each row execute function private.audit_change('holiday');
create trigger time_off_audit after insert or update or delete on public.time_off
  for each row execute function private.audit_change('time_off', 'note');

alter table public.holidays enable row level security;
alter table public.time_off enable row level security;
grant select on public.holidays, public.time_off to authenticated, service_role;
create policy "Everybody of the house reads the holidays" on public.holidays
  for select to authenticated
  using (exists (select from public.user_roles where profile_id = (select private.caller_id())));
create policy "People read their own time off, admins all" on public.time_off
  for select to authenticated
  using (user_id = (select private.caller_id()) or (select private.is_admin()));

-- Functions ------------------------------------------------------------------------------------------

create function private.holiday_document(p_holiday public.holidays) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object('id', p_holiday.id, 'on_date', p_holiday.on_date, 'name', p_holiday.name);

create function private.create_holiday(p_on_date date, p_name text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_holiday public.holidays;
begin
  perform private.require_admin();
  insert into public.holidays (on_date, name) values (p_on_date, p_name) returning * into v_holiday;
  return private.holiday_document(v_holiday);
exception when unique_violation then
  perform private.refuse(409, 'already_exists', 'That date is a holiday already.');
end;
$$;

create function public.create_holiday(p_on_date date, p_name text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_holiday(p_on_date, p_name);
comment on function public.create_holiday(date, text) is
  'Admins enter a date without lessons; sessions that exist stay. Refuses: 401, 403 not_allowed, 409 already_exists, 422 invalid.';
grant execute on function private.create_holiday(date, text), public.create_holiday(date, text) to authenticated;

create function private.update_holiday(p_holiday_id uuid, p_on_date date, p_name text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_holiday public.holidays;
begin
  perform private.require_admin();
  update public.holidays set on_date = coalesce(p_on_date, on_date), name = coalesce(p_name, name)
   where id = p_holiday_id returning * into v_holiday;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such holiday.');
  end if;
  return private.holiday_document(v_holiday);
exception when unique_violation then
  perform private.refuse(409, 'already_exists', 'That date is a holiday already.');
end;
$$;

create function public.update_holiday(p_holiday_id uuid, p_on_date date default null, p_name text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_holiday(p_holiday_id, p_on_date, p_name);
comment on function public.update_holiday(uuid, date, text) is
  'Admins change a holiday. Refuses: 401, 403 not_allowed, 404, 409 already_exists, 422 invalid.';
grant execute on function private.update_holiday(uuid, date, text), public.update_holiday(uuid, date, text) to authenticated;

create function private.delete_holiday(p_holiday_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_holiday public.holidays;
begin
  perform private.require_admin();
  delete from public.holidays where id = p_holiday_id returning * into v_holiday;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such holiday.');
  end if;
  return private.holiday_document(v_holiday);
end;
$$;

create function public.delete_holiday(p_holiday_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.delete_holiday(p_holiday_id);
comment on function public.delete_holiday(uuid) is 'Admins take a holiday back. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.delete_holiday(uuid), public.delete_holiday(uuid) to authenticated;

create function private.time_off_document(p_time_off public.time_off) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_person public.profiles;
begin
  select * into v_person from public.profiles where id = p_time_off.user_id;
  return jsonb_build_object(
    'time_off', jsonb_build_object(
      'id', p_time_off.id, 'person', private.person_card(v_person),
      'starts_on', p_time_off.starts_on, 'ends_on', p_time_off.ends_on,
      'starts_at', p_time_off.starts_at, 'ends_at', p_time_off.ends_at, 'note', p_time_off.note),
    'live_sessions', private.live_sessions_near(
      v_person.id,
      coalesce(p_time_off.starts_at, p_time_off.starts_on::timestamptz - interval '2 days'),
      coalesce(p_time_off.ends_at, p_time_off.ends_on::timestamptz + interval '3 days')));
end;
$$;
comment on function private.time_off_document(public.time_off) is
  'Time off, and the live sessions that may fall on it: whole days are padded, since zones are compared in Python.';

create function private.create_time_off(
  p_user_id uuid, p_starts_on date, p_ends_on date, p_starts_at timestamptz, p_ends_at timestamptz, p_note text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_time_off public.time_off;
  v_violated text;
begin
  perform private.require_admin();
  perform from public.accounts where profile_id = p_user_id;
  if not found then
    perform private.refuse(422, 'invalid', 'user_id must name a person.', jsonb_build_object('field', 'user_id'));
  end if;
  insert into public.time_off (user_id, starts_on, ends_on, starts_at, ends_at, note)
  values (p_user_id, p_starts_on, p_ends_on, p_starts_at, p_ends_at, nullif(p_note, ''))
  returning * into v_time_off;
  return private.time_off_document(v_time_off);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.create_time_off(
  p_user_id uuid, p_starts_on date default null, p_ends_on date default null,
  p_starts_at timestamptz default null, p_ends_at timestamptz default null, p_note text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_time_off(p_user_id, p_starts_on, p_ends_on, p_starts_at, p_ends_at, p_note);
comment on function public.create_time_off(uuid, date, date, timestamptz, timestamptz, text) is
  'Admins enter when a person is away, as days or as a range; answers with the live sessions near it. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.create_time_off(uuid, date, date, timestamptz, timestamptz, text),
  public.create_time_off(uuid, date, date, timestamptz, timestamptz, text) to authenticated;

create function private.update_time_off(
  p_time_off_id uuid, p_starts_on date, p_ends_on date, p_starts_at timestamptz, p_ends_at timestamptz, p_note text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_time_off public.time_off;
  v_to_days boolean := num_nonnulls(p_starts_on, p_ends_on) > 0;
  v_to_range boolean := num_nonnulls(p_starts_at, p_ends_at) > 0;
  v_violated text;
begin
  perform private.require_admin();
  update public.time_off
     set starts_on = case when not v_to_range then coalesce(p_starts_on, starts_on) end,
         ends_on = case when not v_to_range then coalesce(p_ends_on, ends_on) end,
         starts_at = case when not v_to_days then coalesce(p_starts_at, starts_at) end,
         ends_at = case when not v_to_days then coalesce(p_ends_at, ends_at) end,
         note = nullif(coalesce(p_note, note), '')
   where id = p_time_off_id returning * into v_time_off;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such time off.');
  end if;
  return private.time_off_document(v_time_off);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_time_off(
  p_time_off_id uuid, p_starts_on date default null, p_ends_on date default null,
  p_starts_at timestamptz default null, p_ends_at timestamptz default null, p_note text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_time_off(p_time_off_id, p_starts_on, p_ends_on, p_starts_at, p_ends_at, p_note);
comment on function public.update_time_off(uuid, date, date, timestamptz, timestamptz, text) is
  'Admins change time off, also from days to a range and back. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.update_time_off(uuid, date, date, timestamptz, timestamptz, text),
  public.update_time_off(uuid, date, date, timestamptz, timestamptz, text) to authenticated;

create function private.delete_time_off(p_time_off_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_time_off public.time_off;
begin
  perform private.require_admin();
  delete from public.time_off where id = p_time_off_id returning * into v_time_off;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such time off.');
  end if;
  return private.time_off_document(v_time_off);
end;
$$;

create function public.delete_time_off(p_time_off_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.delete_time_off(p_time_off_id);
comment on function public.delete_time_off(uuid) is 'Admins take time off back. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.delete_time_off(uuid), public.delete_time_off(uuid) to authenticated;
