-- 24. Google Calendar
--
-- Lessons in the house's Google calendar, and Google's busy times in the tutors' free ones. Nothing here speaks to
-- Google: a dispatcher outside does, and asks here what there is to do.
--
-- What is kept is a state, no list of errands. `calendar_syncs` has a row for each session that is to be seen in
-- Google, with the version that is wanted and the one that is there. Whatever changes what a calendar shows (times,
-- whether it takes place, Meet link, subject, names, addresses) raises the first number; the dispatcher leases rows
-- (`claim_calendar_syncs`), puts each session into Google as it is now, and reports (`settle_calendar_syncs`):
--
--   pending → synced, or failing (tried again, later and later) → given_up after eight times, or when Google refuses;
--   back to pending by the next change, or when an admin asks (`retry_calendar_sync`)
--
-- So changes coalesce, their order does not matter, and what is done twice is done once: an event's id follows from
-- the session's. While `settings.sync_google_calendar` is false nothing is marked and nothing claimed; turning it on
-- marks every session that has not ended. A match without a Meet link gets one by its first event, one attempt at
-- a time, and the others of the match wait for it; it is written back to the match, or to the session of a booking.
--
-- Busy times are read ahead (`claim_busy_reads`, `settle_busy_reads`) for tutors who offer something and whose
-- calendar an admin has entered; slots go by what was read last, so that they are there while Google is not.

create type public.calendar_sync_status as enum ('pending', 'synced', 'failing', 'given_up');
comment on type public.calendar_sync_status is
  'Whether Google shows a session as it is: not yet, yes, not yet although it was tried, or no and it is not tried any more.';

create type private.calendar_outcome as enum ('synced', 'failed', 'refused', 'postponed');
comment on type private.calendar_outcome is
  'How an attempt ended: done; not this time; Google will not have it; Google asked us to slow down, which does not count.';

create table public.calendar_syncs (
  session_id uuid primary key references public.sessions (id),
  event_id text not null generated always as ('lesson' || encode(uuid_send(session_id), 'hex')) stored,
  wanted_version integer not null default 1,
  synced_version integer not null default 0,
  status public.calendar_sync_status not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default private.now(),
  lease_id uuid,
  leased_until timestamptz,
  leased_version integer,
  makes_meet boolean not null default false,
  last_error text,
  synced_at timestamptz,
  constraint calendar_syncs_lease_is_whole check (num_nonnulls(lease_id, leased_until, leased_version) in (0, 3)),
  constraint calendar_syncs_meet_under_lease check (lease_id is not null or not makes_meet),
  constraint calendar_syncs_versions_grow check (synced_version between 0 and wanted_version)
);
comment on table public.calendar_syncs is 'Sessions in Google Calendar: which state of each is wanted there, and which is there.';
comment on column public.calendar_syncs.event_id is
  'The event''s id in Google, made of the session''s: in base32hex letters, as Google wants them, and the same each time.';
comment on column public.calendar_syncs.wanted_version is 'Grows with every change of what a calendar shows.';
comment on column public.calendar_syncs.synced_version is 'The last one that Google has taken; 0 before the first.';
comment on column public.calendar_syncs.attempts is 'How often in a row it was handed to a dispatcher without success.';
comment on column public.calendar_syncs.next_attempt_at is 'From when on a dispatcher may take it, while it is pending or failing.';
comment on column public.calendar_syncs.lease_id is 'Names the claim under which a dispatcher has it; a report under another one counts for nothing.';
comment on column public.calendar_syncs.leased_until is 'Until when it is that dispatcher''s alone.';
comment on column public.calendar_syncs.leased_version is 'The version that dispatcher was given.';
comment on column public.calendar_syncs.makes_meet is 'That dispatcher has Google make the Meet link; the other sessions of the match wait for it.';
comment on column public.calendar_syncs.last_error is 'Why the last attempt failed, in our words.';
comment on column public.calendar_syncs.synced_at is 'When Google last took a version.';
create index calendar_syncs_due on public.calendar_syncs (next_attempt_at, session_id) where status in ('pending', 'failing');
create index calendar_syncs_making_meet on public.calendar_syncs (session_id) where makes_meet;
alter table public.calendar_syncs enable row level security;
grant select on public.calendar_syncs to authenticated, service_role;
create policy "Admins read the calendar syncs" on public.calendar_syncs
  for select to authenticated using ((select private.is_admin()));

create table private.google_busy (
  tutor_user_id uuid not null references public.profiles (id),
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  primary key (tutor_user_id, starts_at, ends_at),
  constraint google_busy_ends_after_start check (ends_at > starts_at)
);
comment on table private.google_busy is 'When a tutor''s Google calendar was busy when it was last read; never with what.';
alter table private.google_busy enable row level security;

create table private.google_busy_reads (
  tutor_user_id uuid primary key references public.profiles (id),
  as_of timestamptz,
  read_until timestamptz,
  error text,
  next_read_at timestamptz not null default private.now(),
  lease_id uuid,
  leased_until timestamptz,
  constraint google_busy_reads_lease_has_an_end check (num_nonnulls(lease_id, leased_until) in (0, 2))
);
comment on table private.google_busy_reads is 'When each tutor''s Google calendar was last read, how far ahead, and why not since.';
comment on column private.google_busy_reads.as_of is 'When it was last read with success; google_busy says what it was then.';
comment on column private.google_busy_reads.read_until is 'How far ahead it was read then.';
comment on column private.google_busy_reads.error is 'Why it could not be read since.';
alter table private.google_busy_reads enable row level security;

-- Marking --------------------------------------------------------------------------------------------

create function private.is_in_calendars(p_status public.session_status_enum) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_status not in ('cancelled', 'rescheduled');
comment on function private.is_in_calendars(public.session_status_enum) is
  'Whether a calendar shows a session of that status; a parked one has no time.';

create function private.syncs_calendar() returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
return (select sync_google_calendar from public.settings);

create function private.mark_for_calendar(p_session_ids uuid[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  -- What ended before it ever came into Google stays out; what is there is kept right, also afterwards.
  insert into public.calendar_syncs as c (session_id)
  select s.id from public.sessions s
   where s.id = any (p_session_ids)
     and ((s.scheduled_end_utc > private.now() and private.is_in_calendars(s.status))
          or exists (select from public.calendar_syncs known where known.session_id = s.id))
   order by s.id
  on conflict (session_id) do update
    set wanted_version = c.wanted_version + 1, status = 'pending', attempts = 0,
        next_attempt_at = private.now(), last_error = null;
end;
$$;
comment on function private.mark_for_calendar(uuid[]) is 'These sessions are to be put into Google as they are now.';

create function private.mark_known_for_calendar(p_session_ids uuid[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform from public.calendar_syncs where session_id = any (p_session_ids) order by session_id for update;
  update public.calendar_syncs
     set wanted_version = wanted_version + 1, status = 'pending', attempts = 0,
         next_attempt_at = private.now(), last_error = null
   where session_id = any (p_session_ids);
end;
$$;
comment on function private.mark_known_for_calendar(uuid[]) is
  'The same for those that Google knows or is to know already. Takes no lock on a session: whoever calls it may hold what comes after sessions.';

create function private.mark_all_for_calendar() returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  -- Sessions before their places in the calendar, as everybody takes them.
  perform private.mark_for_calendar(array(
    select id from public.sessions
     where scheduled_start_utc > private.now() - interval '8 hours' and scheduled_end_utc > private.now()
     order by id for key share));
end;
$$;
comment on function private.mark_all_for_calendar() is 'Every session that has not ended is to be put into Google.';

create function private.mark_forgotten_for_calendar() returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.mark_for_calendar(array(
    select s.id from public.sessions s
     where s.scheduled_start_utc > private.now() - interval '8 hours' and s.scheduled_end_utc > private.now()
       and not exists (select from public.calendar_syncs c where c.session_id = s.id)
     order by s.id for key share skip locked));
end;
$$;
comment on function private.mark_forgotten_for_calendar() is
  'A session made while the switch was being turned, by a transaction that still saw it off, is marked now.';

create function private.mark_new_sessions() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if private.syncs_calendar() then
    perform private.mark_for_calendar(array(select id from new_sessions));
  end if;
  return null;
end;
$$;
create trigger sessions_mark_new_for_calendar after insert on public.sessions
  referencing new table as new_sessions
  for each statement execute function private.mark_new_sessions();

create function private.mark_changed_sessions() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if private.syncs_calendar() then
    perform private.mark_for_calendar(array(
      select n.id from old_sessions o join new_sessions n using (id)
       where (o.scheduled_start_utc, o.scheduled_end_utc, o.meet_link, private.is_in_calendars(o.status))
             is distinct from (n.scheduled_start_utc, n.scheduled_end_utc, n.meet_link, private.is_in_calendars(n.status))));
  end if;
  return null;
end;
$$;
comment on function private.mark_changed_sessions() is
  'Marks sessions whose time, Meet link or taking place has changed; a lesson that begins or is done looks the same in a calendar.';
create trigger sessions_mark_changed_for_calendar after update on public.sessions
  referencing old table as old_sessions new table as new_sessions
  for each statement execute function private.mark_changed_sessions();

create function private.mark_sessions_about() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_id uuid := coalesce(to_jsonb(new) ->> 'id', to_jsonb(new) ->> 'profile_id')::uuid;
  v_ids uuid[];
begin
  if not private.syncs_calendar() then
    return null;
  end if;
  case tg_table_name
    when 'matches' then
      v_ids := array(select id from public.sessions where match_id = v_id and scheduled_end_utc > private.now());
    when 'requests' then
      v_ids := array(select s.id from public.matches m join public.sessions s on s.match_id = m.id
                      where m.request_id = v_id and s.scheduled_end_utc > private.now());
    when 'listings' then
      v_ids := array(select s.id from public.bookings b join public.sessions s on s.booking_id = b.id
                      where b.listing_id = v_id and s.scheduled_end_utc > private.now());
    else
      v_ids := array(select id from public.sessions
                      where (tutor_user_id = v_id or student_user_id = v_id) and scheduled_end_utc > private.now());
  end case;
  perform private.mark_known_for_calendar(v_ids);
  return null;
end;
$$;
comment on function private.mark_sessions_about() is
  'Marks the sessions to come in which something is shown that has just changed: Meet link, subject, name or address.';
create trigger matches_mark_sessions_for_calendar after update on public.matches
  for each row when (old.meet_link is distinct from new.meet_link) execute function private.mark_sessions_about();
create trigger requests_mark_sessions_for_calendar after update on public.requests
  for each row when (old.subject <> new.subject) execute function private.mark_sessions_about();
create trigger listings_mark_sessions_for_calendar after update on public.listings
  for each row when (old.title <> new.title) execute function private.mark_sessions_about();
create trigger profiles_mark_sessions_for_calendar after update on public.profiles
  for each row when (old.display_name <> new.display_name) execute function private.mark_sessions_about();
create trigger accounts_mark_sessions_for_calendar after update on public.accounts
  for each row when (old.email is distinct from new.email) execute function private.mark_sessions_about();

create function private.mark_when_turned_on() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.mark_all_for_calendar();
  return null;
end;
$$;
create trigger settings_mark_all_for_calendar after update on public.settings
  for each row when (new.sync_google_calendar and not old.sync_google_calendar)
  execute function private.mark_when_turned_on();

-- For the dispatcher ---------------------------------------------------------------------------------

create function private.calendar_waits() returns interval[]
language sql immutable
set search_path = '' set timezone = 'UTC'
return array['1 minute', '5 minutes', '15 minutes', '1 hour', '3 hours', '6 hours', '6 hours']::interval[];
comment on function private.calendar_waits() is
  'How long is waited after the first, second … attempt that failed; after one more a session is given up.';

create function private.check_claim(p_limit integer, p_most integer, p_lease_seconds integer) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  if p_limit is null or p_limit not between 1 and p_most then
    perform private.refuse(422, 'invalid', format('limit must be 1 to %s.', p_most), jsonb_build_object('field', 'limit'));
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 5 and 3600 then
    perform private.refuse(422, 'invalid', 'lease_seconds must be 5 to 3600.', jsonb_build_object('field', 'lease_seconds'));
  end if;
end;
$$;

create function private.calendar_guest(p_profile_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object('name', p.display_name, 'email', case when a.deactivated_at is null then a.email end)
    from public.profiles p left join public.accounts a on a.profile_id = p.id
   where p.id = p_profile_id
$$;
comment on function private.calendar_guest(uuid) is 'A person as a calendar invites them; without an address when they have none or have left.';

create function private.wants_meet(p_session public.sessions, p_meet_link text) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
return coalesce(p_session.meet_link, p_meet_link) is null
  and private.is_in_calendars(p_session.status) and p_session.scheduled_end_utc > private.now();
comment on function private.wants_meet(public.sessions, text) is
  'Whether a session lacks a Meet link, its match''s included, and somebody may still need it.';

create function private.calendar_due(p_limit integer, p_makes_meet boolean) returns uuid[]
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_ids uuid[];
begin
  select array_agg(session_id) into v_ids from (
    select c.session_id
      from public.calendar_syncs c
      join public.sessions s on s.id = c.session_id
      left join public.matches m on m.id = s.match_id
     where c.status in ('pending', 'failing') and c.next_attempt_at <= v_now
       and (c.leased_until is null or c.leased_until <= v_now)
       -- Of a match without a link one is taken, and none while somebody is about to bring the link.
       and not (p_makes_meet and m.id is not null and private.wants_meet(s, m.meet_link) and exists (
         select from public.sessions o join public.calendar_syncs other on other.session_id = o.id
          where o.match_id = m.id and o.id <> s.id
            and ((other.makes_meet and other.leased_until > v_now)
                 or (other.status in ('pending', 'failing') and other.next_attempt_at <= v_now
                     and (other.leased_until is null or other.leased_until <= v_now)
                     and (other.next_attempt_at, other.session_id) < (c.next_attempt_at, c.session_id)
                     and private.wants_meet(o, m.meet_link)))))
     order by c.next_attempt_at, c.session_id limit p_limit
     for update of c skip locked) as due;
  return v_ids;
end;
$$;
comment on function private.calendar_due(integer, boolean) is 'What a dispatcher is to take now, oldest first, locked.';

create function private.claim_calendar_syncs(p_limit integer, p_lease_seconds integer, p_makes_meet boolean) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_most integer := 1 + cardinality(private.calendar_waits());
  v_lease_id uuid := gen_random_uuid();
  v_ids uuid[];
begin
  perform private.check_claim(p_limit, 500, p_lease_seconds);
  if not private.syncs_calendar() then
    return '{"syncs": [], "more": false}';
  end if;
  -- One claim after the other: two at once would each take one of a match that has no Meet link.
  perform pg_advisory_xact_lock(hashtextextended('lessonkeeper.calendar_claims', 0));
  v_ids := private.calendar_due(p_limit, coalesce(p_makes_meet, true));
  if v_ids is null and exists (select from public.settings where updated_at > v_now - interval '1 hour') then
    perform private.mark_forgotten_for_calendar();
    v_ids := private.calendar_due(p_limit, coalesce(p_makes_meet, true));
  end if;
  update public.calendar_syncs c
     set attempts = c.attempts + 1, lease_id = v_lease_id, leased_version = c.wanted_version,
         leased_until = v_now + make_interval(secs => p_lease_seconds),
         makes_meet = coalesce(p_makes_meet, true) and s.match_id is not null and private.wants_meet(s, m.meet_link)
    from public.sessions s left join public.matches m on m.id = s.match_id
   where c.session_id = any (v_ids) and s.id = c.session_id and (c.lease_id is null or c.attempts < v_most);
  update public.calendar_syncs
     set status = 'given_up', lease_id = null, leased_until = null, leased_version = null, makes_meet = false,
         last_error = 'The dispatcher did not come back.'
   where session_id = any (v_ids) and lease_id <> v_lease_id;
  return jsonb_build_object(
    'syncs', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'session_id', c.session_id, 'lease_id', c.lease_id, 'event_id', c.event_id, 'version', c.leased_version,
               'is_known', c.synced_version > 0, 'is_cancelled', not private.is_in_calendars(s.status),
               'subject', coalesce(r.subject, l.title),
               'tutor', private.calendar_guest(s.tutor_user_id), 'student', private.calendar_guest(s.student_user_id),
               'starts_at', s.scheduled_start_utc, 'ends_at', s.scheduled_end_utc,
               'meet_link', coalesce(m.meet_link, s.meet_link),
               'wants_meet', coalesce(p_makes_meet, true) and private.wants_meet(s, m.meet_link))
             order by c.next_attempt_at, c.session_id), '[]')
        from public.calendar_syncs c
        join public.sessions s on s.id = c.session_id
        left join public.matches m on m.id = s.match_id
        left join public.requests r on r.id = m.request_id
        left join public.bookings b on b.id = s.booking_id
        left join public.listings l on l.id = b.listing_id
       where c.session_id = any (v_ids) and c.lease_id = v_lease_id),
    'more', v_ids is not null);
end;
$$;

create function public.claim_calendar_syncs(
  p_limit integer default 20, p_lease_seconds integer default 60, p_makes_meet boolean default true
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.claim_calendar_syncs(p_limit, p_lease_seconds, p_makes_meet);
comment on function public.claim_calendar_syncs(integer, integer, boolean) is
  'A dispatcher leases sessions that Google does not show as they are, oldest first, with all that an event says; ask again while "more". p_makes_meet: whether it can have Google make Meet links; a match without one then gives out one session at a time. For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.claim_calendar_syncs(integer, integer, boolean), public.claim_calendar_syncs(integer, integer, boolean) to service_role;

create type private.calendar_result as (
  session_id uuid, lease_id uuid, outcome private.calendar_outcome, error text, meet_link text, retry_after_seconds integer);

create function private.settle_calendar_sync(p_result private.calendar_result) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_sync public.calendar_syncs;
  v_wait interval;
begin
  select * into v_sync from public.calendar_syncs
   where session_id = p_result.session_id and lease_id = p_result.lease_id for update;
  if not found then
    return 'stale';
  end if;
  v_wait := case p_result.outcome
    when 'postponed' then interval '1 minute'
    when 'failed' then (private.calendar_waits())[greatest(v_sync.attempts, 1)] end * (0.8 + 0.4 * random());
  if v_wait is not null then
    v_wait := least(greatest(v_wait, make_interval(secs => p_result.retry_after_seconds)), interval '1 day');
  end if;
  v_sync.synced_version := case p_result.outcome when 'synced' then v_sync.leased_version else v_sync.synced_version end;
  v_sync.status := case
    when p_result.outcome = 'synced' and v_sync.synced_version = v_sync.wanted_version then 'synced'
    -- It has changed meanwhile, and what is wanted now may do where that did not.
    when v_sync.wanted_version > v_sync.leased_version or p_result.outcome = 'postponed' then 'pending'
    when v_wait is not null then 'failing'
    else 'given_up' end;
  update public.calendar_syncs
     set status = v_sync.status, synced_version = v_sync.synced_version,
         lease_id = null, leased_until = null, leased_version = null, makes_meet = false,
         attempts = case p_result.outcome
           when 'synced' then 0 when 'postponed' then greatest(attempts - 1, 0) else attempts end,
         next_attempt_at = private.now() + coalesce(v_wait, interval '0'),
         synced_at = case p_result.outcome when 'synced' then private.now() else synced_at end,
         last_error = left(p_result.error, 500)
   where session_id = v_sync.session_id;
  return case
    when p_result.outcome in ('synced', 'postponed') then p_result.outcome::text
    when v_sync.status = 'given_up' then 'given_up' else 'failed' end;
end;
$$;
comment on function private.settle_calendar_sync(private.calendar_result) is
  'Writes down how one attempt ended and what follows: synced, failed, given_up, postponed, or stale when the lease is another''s.';

create function private.keep_meet_links(p_results private.calendar_result[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_match_ids uuid[];
  v_session_ids uuid[];
begin
  select array_agg(distinct s.match_id), array_agg(s.id) filter (where s.booking_id is not null)
    into v_match_ids, v_session_ids
    from unnest(p_results) r
    join public.calendar_syncs c on c.session_id = r.session_id and c.lease_id = r.lease_id
    join public.sessions s on s.id = r.session_id
   where private.is_meet_link(r.meet_link);
  -- First matches, then sessions, then what is told outside, all of it at once: that is everybody's order, and a
  -- link that is written marks every session of its match.
  perform from public.matches where id = any (v_match_ids) order by id for no key update;
  perform from public.sessions where id = any (v_session_ids) order by id for no key update;
  perform from public.calendar_syncs
    where session_id in (select r.session_id from unnest(p_results) r)
       or session_id in (select id from public.sessions where match_id = any (v_match_ids))
    order by session_id for update;
  update public.matches m set meet_link = made.meet_link
    from (select distinct on (s.match_id) s.match_id, r.meet_link
            from unnest(p_results) r
            join public.calendar_syncs c on c.session_id = r.session_id and c.lease_id = r.lease_id
            join public.sessions s on s.id = r.session_id
           where private.is_meet_link(r.meet_link) order by s.match_id, s.id) as made
   where m.id = made.match_id and m.meet_link is null;
  update public.sessions s set meet_link = r.meet_link
    from unnest(p_results) r
    join public.calendar_syncs c on c.session_id = r.session_id and c.lease_id = r.lease_id
   where s.id = r.session_id and s.booking_id is not null and s.meet_link is null and private.is_meet_link(r.meet_link);
end;
$$;
comment on function private.keep_meet_links(private.calendar_result[]) is
  'Takes all that a report is about, and writes the links that Google made to the matches, and to the sessions of bookings, that still have none.';

create function private.settle_calendar_syncs(p_results jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_results private.calendar_result[];
  v_counts jsonb;
begin
  if jsonb_typeof(p_results) = 'array' then
    select array_agg(r order by r.session_id) into v_results
      from jsonb_populate_recordset(null::private.calendar_result, p_results) as r;
  end if;
  if jsonb_typeof(p_results) is distinct from 'array' or exists (select from unnest(v_results) r where r.outcome is null) then
    perform private.refuse(422, 'invalid', 'Every result needs an outcome: synced, failed, refused or postponed.',
                           jsonb_build_object('field', 'results'));
  end if;
  perform private.keep_meet_links(v_results);
  select jsonb_build_object(
           'synced', count(*) filter (where told = 'synced'), 'failed', count(*) filter (where told = 'failed'),
           'given_up', count(*) filter (where told = 'given_up'), 'postponed', count(*) filter (where told = 'postponed'),
           'stale', count(*) filter (where told = 'stale'))
    into v_counts
    from (select private.settle_calendar_sync(r) as told from unnest(v_results) r) as settled;
  return v_counts;
end;
$$;

create function public.settle_calendar_syncs(p_results jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.settle_calendar_syncs(p_results);
comment on function public.settle_calendar_syncs(jsonb) is
  'A dispatcher reports how its leased sessions fared: [{"session_id", "lease_id", "outcome", "error", "meet_link", "retry_after_seconds"}]. A Meet link is kept where there is none. A report under a lease that is another''s by now changes nothing. For the service key alone. Refuses: 422 invalid.';
grant execute on function private.settle_calendar_syncs(jsonb), public.settle_calendar_syncs(jsonb) to service_role;

-- For admins -----------------------------------------------------------------------------------------

create function private.calendar_sync_document(p_sync public.calendar_syncs) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'session_id', p_sync.session_id, 'event_id', p_sync.event_id, 'status', p_sync.status,
    'subject', coalesce(r.subject, l.title), 'tutor', private.person_card(t), 'student', private.person_card(u),
    'scheduled_start_utc', s.scheduled_start_utc, 'scheduled_end_utc', s.scheduled_end_utc, 'session_status', s.status,
    'attempts', p_sync.attempts,
    'next_attempt_at', case when p_sync.status in ('pending', 'failing') then p_sync.next_attempt_at end,
    'last_error', p_sync.last_error, 'synced_at', p_sync.synced_at)
    from public.sessions s
    join public.profiles t on t.id = s.tutor_user_id
    join public.profiles u on u.id = s.student_user_id
    left join public.matches m on m.id = s.match_id
    left join public.requests r on r.id = m.request_id
    left join public.bookings b on b.id = s.booking_id
    left join public.listings l on l.id = b.listing_id
   where s.id = p_sync.session_id
$$;
comment on function private.calendar_sync_document(public.calendar_syncs) is 'How a session stands in Google Calendar, as admins see it.';

create function private.list_calendar_syncs(
  p_status public.calendar_sync_status[], p_after_start timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 50);
  v_ids uuid[];
begin
  perform private.require_admin();
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  select array_agg(session_id order by scheduled_start_utc, session_id) into v_ids from (
    select c.session_id, s.scheduled_start_utc
      from public.calendar_syncs c join public.sessions s on s.id = c.session_id
     where (p_status is null or c.status = any (p_status))
       and (p_after_start is null or (s.scheduled_start_utc, s.id) > (p_after_start, p_after_id))
     order by s.scheduled_start_utc, s.id limit v_limit + 1) as page;
  return jsonb_build_object(
    'is_on', private.syncs_calendar(),
    'syncs', (select coalesce(jsonb_agg(private.calendar_sync_document(c) order by wanted.place), '[]')
                from unnest(v_ids[1:v_limit]) with ordinality as wanted (id, place)
                join public.calendar_syncs c on c.session_id = wanted.id),
    'has_more', coalesce(cardinality(v_ids), 0) > v_limit,
    'busy_reads', (select coalesce(jsonb_agg(jsonb_build_object(
                            'tutor', private.person_card(p), 'as_of', b.as_of, 'read_until', b.read_until,
                            'error', b.error) order by p.display_name, p.id), '[]')
                     from private.google_busy_reads b join public.profiles p on p.id = b.tutor_user_id));
end;
$$;

create function public.list_calendar_syncs(
  p_status public.calendar_sync_status[] default null, p_after_start timestamptz default null,
  p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_calendar_syncs(p_status, p_after_start, p_after_id, p_limit);
comment on function public.list_calendar_syncs(public.calendar_sync_status[], timestamptz, uuid, integer) is
  'Admins see how sessions stand in Google Calendar, a page at a time in order of start, and when tutors'' calendars were read. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_calendar_syncs(public.calendar_sync_status[], timestamptz, uuid, integer),
  public.list_calendar_syncs(public.calendar_sync_status[], timestamptz, uuid, integer) to authenticated;

create function private.retry_calendar_sync(p_session_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_sync public.calendar_syncs;
begin
  perform private.require_admin();
  perform from public.calendar_syncs where session_id = p_session_id;
  if not found then
    perform private.refuse(404, 'not_found', 'That session is not kept in Google Calendar.');
  end if;
  perform private.mark_known_for_calendar(array[p_session_id]);
  perform private.record_audit('calendar_sync_retried', 'session', p_session_id);
  select * into v_sync from public.calendar_syncs where session_id = p_session_id;
  return private.calendar_sync_document(v_sync);
end;
$$;

create function public.retry_calendar_sync(p_session_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.retry_calendar_sync(p_session_id);
comment on function public.retry_calendar_sync(uuid) is
  'Admins have a session put into Google Calendar anew, as it is now, whether it was given up, is waiting, or was changed over there. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.retry_calendar_sync(uuid), public.retry_calendar_sync(uuid) to authenticated;

-- Busy times -----------------------------------------------------------------------------------------

create function private.google_busy_of(p_tutor_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object('start', starts_at, 'end', ends_at) order by starts_at, ends_at), '[]')
    from private.google_busy where tutor_user_id = p_tutor_id
$$;
comment on function private.google_busy_of(uuid) is 'When a tutor''s Google calendar was busy when it was last read.';

create function private.google_busy_as_of(p_tutor_id uuid) returns timestamptz
language sql stable
set search_path = '' set timezone = 'UTC'
return (select as_of from private.google_busy_reads where tutor_user_id = p_tutor_id);
comment on function private.google_busy_as_of(uuid) is 'When that was; null where no calendar is read.';

create function private.forget_busy() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  delete from private.google_busy_reads where tutor_user_id = new.profile_id;
  delete from private.google_busy where tutor_user_id = new.profile_id;
  return null;
end;
$$;
comment on function private.forget_busy() is 'What another calendar said is forgotten at once, also what is being read of it now.';
create trigger accounts_forget_busy after update on public.accounts
  for each row when (old.google_calendar_id is distinct from new.google_calendar_id)
  execute function private.forget_busy();

create function private.claim_busy_reads(p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_lease_id uuid := gen_random_uuid();
  v_ids uuid[];
begin
  perform private.check_claim(p_limit, 50, p_lease_seconds);
  insert into private.google_busy_reads (tutor_user_id)
  select a.profile_id from public.accounts a
   where a.google_calendar_id is not null and a.deactivated_at is null
     and exists (select from public.listings l where l.tutor_user_id = a.profile_id and l.is_active)
     and not exists (select from private.google_busy_reads b where b.tutor_user_id = a.profile_id)
   order by a.profile_id
  on conflict do nothing;
  select array_agg(tutor_user_id) into v_ids from (
    select b.tutor_user_id
      from private.google_busy_reads b join public.accounts a on a.profile_id = b.tutor_user_id
     where b.next_read_at <= v_now and (b.leased_until is null or b.leased_until <= v_now)
       and a.google_calendar_id is not null and a.deactivated_at is null
       and exists (select from public.listings l where l.tutor_user_id = a.profile_id and l.is_active)
     order by b.next_read_at, b.tutor_user_id limit p_limit for update of b skip locked) as due;
  update private.google_busy_reads
     set lease_id = v_lease_id, leased_until = v_now + make_interval(secs => p_lease_seconds)
   where tutor_user_id = any (v_ids);
  return jsonb_build_object(
    'reads', (select coalesce(jsonb_agg(jsonb_build_object(
                       'tutor_id', a.profile_id, 'lease_id', v_lease_id, 'calendar_id', a.google_calendar_id)
                     order by a.profile_id), '[]')
                from public.accounts a where a.profile_id = any (v_ids)),
    'from', v_now, 'until', v_now + interval '62 days', 'more', coalesce(cardinality(v_ids), 0) >= p_limit);
end;
$$;

create function public.claim_busy_reads(p_limit integer default 50, p_lease_seconds integer default 60) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.claim_busy_reads(p_limit, p_lease_seconds);
comment on function public.claim_busy_reads(integer, integer) is
  'A dispatcher leases the calendars of tutors who offer something, those read longest ago first, and is told which time to read; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.claim_busy_reads(integer, integer), public.claim_busy_reads(integer, integer) to service_role;

create type private.busy_result as (tutor_id uuid, lease_id uuid, busy jsonb, read_until timestamptz, error text);

create function private.settle_busy_read(p_result private.busy_result) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform from private.google_busy_reads
    where tutor_user_id = p_result.tutor_id and lease_id = p_result.lease_id for update;
  if not found then
    return 'stale';
  end if;
  update private.google_busy_reads
     set lease_id = null, leased_until = null, error = left(p_result.error, 500),
         next_read_at = private.now() + interval '5 minutes',
         as_of = case when p_result.error is null then private.now() else as_of end,
         read_until = case when p_result.error is null then p_result.read_until else read_until end
   where tutor_user_id = p_result.tutor_id;
  if p_result.error is not null then
    return 'failed';
  end if;
  delete from private.google_busy where tutor_user_id = p_result.tutor_id;
  insert into private.google_busy (tutor_user_id, starts_at, ends_at)
  select distinct p_result.tutor_id, b.start, b."end"
    from jsonb_to_recordset(p_result.busy) as b (start timestamptz, "end" timestamptz)
   where b."end" > b.start;
  return 'read';
end;
$$;
comment on function private.settle_busy_read(private.busy_result) is
  'Puts what was read in the place of what was known, or, where it could not be read, keeps that: read, failed or stale.';

create function private.settle_busy_reads(p_results jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_results private.busy_result[];
  v_counts jsonb;
begin
  if jsonb_typeof(p_results) = 'array' then
    select array_agg(r order by r.tutor_id) into v_results
      from jsonb_populate_recordset(null::private.busy_result, p_results) as r;
  end if;
  if jsonb_typeof(p_results) is distinct from 'array'
     or exists (select from unnest(v_results) r where (jsonb_typeof(r.busy) = 'array') is not true and r.error is null) then
    perform private.refuse(422, 'invalid', 'Every result needs busy times or an error.', jsonb_build_object('field', 'results'));
  end if;
  select jsonb_build_object(
           'read', count(*) filter (where told = 'read'), 'failed', count(*) filter (where told = 'failed'),
           'stale', count(*) filter (where told = 'stale'))
    into v_counts
    from (select private.settle_busy_read(r) as told from unnest(v_results) r) as settled;
  return v_counts;
end;
$$;

create function public.settle_busy_reads(p_results jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.settle_busy_reads(p_results);
comment on function public.settle_busy_reads(jsonb) is
  'A dispatcher reports what it read of leased calendars: [{"tutor_id", "lease_id", "busy": [{"start", "end"}], "read_until", "error"}]. With an error, what was known stays. A report under a lease that is another''s by now, or about a calendar that was exchanged, changes nothing. For the service key alone. Refuses: 422 invalid.';
grant execute on function private.settle_busy_reads(jsonb), public.settle_busy_reads(jsonb) to service_role;
