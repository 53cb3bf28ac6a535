-- 21. Calendars
--
-- A person's lessons as a calendar that other programs subscribe to. Such a program cannot sign in, so the address
-- itself holds a secret: `rotate_calendar_token` makes it, shows it once and keeps only its hash; the one before
-- stops at once. `read_calendar_feed` is for the service key alone, which speaks for whoever opens the address, and
-- decides by the token: an unknown one, an old one and that of somebody who may not act are answered alike.

create table private.calendar_tokens (
  profile_id uuid primary key references public.profiles (id) on delete cascade,
  token_hash bytea not null unique,
  created_at timestamptz not null default private.now()
);
comment on table private.calendar_tokens is 'Who has an address for their calendar; at most one each.';
comment on column private.calendar_tokens.token_hash is 'SHA-256 of the token. It is random enough that a hash without salt gives nothing away.';
comment on column private.calendar_tokens.created_at is 'When the present token was made.';
alter table private.calendar_tokens enable row level security;

insert into private.shown_once (function_name, member) values ('rotate_calendar_token', 'token');

create function private.rotate_calendar_token() returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_token text := private.new_token();
begin
  perform private.limit_calls('rotate_calendar_token', 10, interval '1 hour');
  insert into private.calendar_tokens (profile_id, token_hash)
  values (v_caller_id, private.token_hash(v_token))
  on conflict (profile_id) do update set token_hash = excluded.token_hash, created_at = excluded.created_at;
  perform private.record_audit('calendar_token_rotated', 'person', v_caller_id);
  return jsonb_build_object('token', v_token);
end;
$$;

create function public.rotate_calendar_token() returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.rotate_calendar_token();
comment on function public.rotate_calendar_token() is
  'Gives the caller''s calendar another secret address, shown once; the one before stops at once. Refuses: 401 not_signed_in, 403 not_allowed, 429 too_many_requests.';
grant execute on function private.rotate_calendar_token(), public.rotate_calendar_token() to authenticated;

create function private.read_calendar_feed(p_token text) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_person public.profiles;
  -- Whole days, so that nothing in the answer changes from one minute to the next.
  v_today timestamptz := date_trunc('day', private.now());
  v_from timestamptz := v_today - interval '90 days';
  v_to timestamptz := v_today + interval '400 days';
begin
  select p.* into v_person
    from private.calendar_tokens t
    join public.accounts a on a.profile_id = t.profile_id
    join public.profiles p on p.id = t.profile_id
   where t.token_hash = private.token_hash(p_token)
     and a.deactivated_at is null
     and a.auth_user_id is not null;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such calendar.');
  end if;
  return jsonb_build_object(
    'display_name', v_person.display_name,
    'timezone', v_person.timezone,
    'from', v_from,
    'to', v_to,
    'sessions', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', s.id,
               'version', s.version,
               'status', s.status,
               'scheduled_start_utc', s.scheduled_start_utc,
               'scheduled_end_utc', s.scheduled_end_utc,
               'subject', coalesce(r.subject, l.title),
               'other_name', o.display_name,
               'meet_link', coalesce(m.meet_link, s.meet_link),
               'updated_at', greatest(s.updated_at, m.updated_at))
             order by s.scheduled_start_utc, s.id), '[]')
        from public.sessions s
        join public.profiles o
          on o.id = case v_person.id when s.tutor_user_id then s.student_user_id else s.tutor_user_id end
        left join public.matches m on m.id = s.match_id
        left join public.requests r on r.id = m.request_id
        left join public.bookings b on b.id = s.booking_id
        left join public.listings l on l.id = b.listing_id
       where (s.tutor_user_id = v_person.id or s.student_user_id = v_person.id)
         and s.scheduled_start_utc >= v_from and s.scheduled_start_utc < v_to));
end;
$$;

create function public.read_calendar_feed(p_token text) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.read_calendar_feed(p_token);
comment on function public.read_calendar_feed(text) is
  'For the service key: the lessons of the person whose calendar has this token, from 90 days back to 400 ahead, cancelled ones too. Refuses: 404 (also an old token, and that of somebody who may not act).';
grant execute on function private.read_calendar_feed(text), public.read_calendar_feed(text) to service_role;
