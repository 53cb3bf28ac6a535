-- 17. Bookings
--
-- Single lessons, asked for by students. A tutor describes an offer (a listing) and says in which hours of the
-- week, on their own wall clock, they can be booked. `slot_inputs` reads all that decides which times are free;
-- Python alone turns wall clocks into instants. `request_booking` leaves a draft, if nothing that was read has
-- changed since. Then somebody decides, once:
--
--   draft → accepted (accept_booking: its tutor)  → a session, in the same transaction
--         → declined (decline_booking: its tutor) or cancelled (cancel_booking: its student); admins, all three
--
-- Several drafts may want one time; the exclusion constraints of the sessions let one of them be accepted. A session
-- of a booking has the booking's people and times because a foreign key says so, and only an accepted booking has
-- one; that every accepted booking has one is asked when the transaction ends. What becomes of the lesson is
-- told by its session: a cancelled session leaves the booking accepted. Reviews are left to a later chapter.

create type public.booking_status as enum ('draft', 'accepted', 'declined', 'cancelled');
comment on type public.booking_status is 'What was decided about a booking; a draft waits for its tutor.';

create function private.is_time_of_day(p_time text) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_time ~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$';
comment on function private.is_time_of_day(text) is 'Whether a text is HH:MM on a wall clock, 24:00 for the end of the day included.';

create function private.minute_of(p_time text) returns integer
language sql immutable
set search_path = '' set timezone = 'UTC'
return 60 * left(p_time, 2)::integer + right(p_time, 2)::integer;
comment on function private.minute_of(text) is 'HH:MM in minutes since the day began.';

-- Tables ---------------------------------------------------------------------------------------------

create table public.listings (
  id uuid primary key default gen_random_uuid(),
  tutor_user_id uuid not null references public.profiles (id),
  title text not null,
  description text,
  subject text,
  duration_mins integer not null default 60,
  meet_link text,
  is_active boolean not null default true,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint listings_title_is_a_line check (private.is_line(title, 120)),
  constraint listings_description_is_bounded check (char_length(description) <= 5000),
  constraint listings_subject_is_a_line check (private.is_line(subject, 120)),
  constraint listings_duration_is_sane check (duration_mins between 15 and 480),
  constraint listings_meet_link_is_google_meet check (private.is_meet_link(meet_link)),
  constraint listings_of_one_tutor unique (id, tutor_user_id)
);
comment on table public.listings is 'Offers of single lessons. Everybody of the house may look at active ones, with list_listings.';
comment on column public.listings.title is 'What is offered, in a line; the subject of the sessions booked on it.';
comment on column public.listings.description is 'What a student should know before asking.';
comment on column public.listings.duration_mins is 'How long a lesson of it lasts. Bookings that exist keep their length.';
comment on column public.listings.meet_link is 'Copied to each session when its booking is accepted; until then only its tutor and admins see it.';
comment on constraint listings_title_is_a_line on public.listings is 'A title is one trimmed line of 1 to 120 characters.';
comment on constraint listings_description_is_bounded on public.listings is 'A description has at most 5000 characters.';
comment on constraint listings_subject_is_a_line on public.listings is 'A subject is one trimmed line of 1 to 120 characters.';
comment on constraint listings_duration_is_sane on public.listings is 'duration_mins is 15 to 480.';
comment on constraint listings_meet_link_is_google_meet on public.listings is 'A Meet link looks like https://meet.google.com/abc-defg-hij.';
comment on constraint listings_of_one_tutor on public.listings is 'Lets bookings refer to listing and tutor together.';
create index listings_tutor on public.listings (tutor_user_id, created_at, id);
create index listings_created on public.listings (created_at, id);

create table public.availability (
  id uuid primary key default gen_random_uuid(),
  tutor_user_id uuid not null references public.profiles (id),
  timezone text not null,
  weekday integer not null,
  starts_at text not null,
  ends_at text not null,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint availability_timezone_exists check (private.is_timezone(timezone)),
  constraint availability_weekday_is_one check (weekday between 1 and 7),
  constraint availability_hours_are_times check (
    private.is_time_of_day(starts_at) and private.is_time_of_day(ends_at)
    and private.minute_of(starts_at) < private.minute_of(ends_at)),
  constraint availability_in_one_timezone exclude using gist (tutor_user_id with =, timezone with <>),
  constraint availability_hours_apart exclude using gist (
    tutor_user_id with =, weekday with =,
    int4range(private.minute_of(starts_at), private.minute_of(ends_at)) with &&)
);
comment on table public.availability is 'The hours of the week in which a tutor can be booked, on the wall clock of one zone.';
comment on column public.availability.weekday is 'Monday = 1 to Sunday = 7.';
comment on column public.availability.starts_at is 'HH:MM on the wall clock of the zone.';
comment on column public.availability.ends_at is 'HH:MM, not included; 24:00 ends the day. Hours over midnight are two rows that meet there.';
comment on constraint availability_timezone_exists on public.availability is 'timezone is the name of a time zone.';
comment on constraint availability_weekday_is_one on public.availability is 'A weekday is 1 (Monday) to 7 (Sunday).';
comment on constraint availability_hours_are_times on public.availability is
  'Hours are HH:MM and end after they start; 24:00 ends the day, and hours over midnight are two entries.';
comment on constraint availability_in_one_timezone on public.availability is 'All hours of a tutor are in one time zone.';
comment on constraint availability_hours_apart on public.availability is 'Hours of one weekday may not overlap.';
create index availability_tutor on public.availability (tutor_user_id, weekday);

create table public.bookings (
  id uuid primary key default gen_random_uuid(),
  listing_id uuid not null,
  tutor_user_id uuid not null references public.profiles (id),
  student_user_id uuid not null references public.profiles (id),
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  status public.booking_status not null default 'draft',
  note text,
  reason text,
  decided_by_user_id uuid references public.profiles (id),
  decided_by_role public.actor_role,
  decided_at timestamptz,
  version integer not null default 1,
  accepted_id uuid generated always as (case when status = 'accepted' then id end) stored,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint bookings_tutor_is_the_listings foreign key (listing_id, tutor_user_id)
    references public.listings (id, tutor_user_id),
  constraint bookings_of_two_people check (tutor_user_id <> student_user_id),
  constraint bookings_end_after_start check (ends_at > starts_at and ends_at - starts_at <= interval '8 hours'),
  constraint bookings_in_this_century check (
    starts_at >= timestamptz '2000-01-01 00:00+00' and ends_at < timestamptz '2101-01-02 00:00+00'),
  constraint bookings_note_is_bounded check (char_length(note) <= 1000),
  constraint bookings_reason_is_bounded check (char_length(reason) <= 1000),
  constraint bookings_decided_unless_draft check (
    (status = 'draft') = (decided_at is null) and (status = 'draft') = (decided_by_role is null)),
  constraint bookings_accepted_with_these_times unique (accepted_id, tutor_user_id, student_user_id, starts_at, ends_at)
);
comment on table public.bookings is 'Students'' requests for a time on a listing, and what became of them.';
comment on column public.bookings.starts_at is 'When the lesson is to begin; never changes.';
comment on column public.bookings.ends_at is 'When it is to end: as long after as the listing said on the day of the request.';
comment on column public.bookings.decided_by_role is 'In which capacity it was accepted, declined or cancelled; empty for a draft.';
comment on column public.bookings.decided_at is 'When it was accepted, declined or cancelled; empty for a draft.';
comment on column public.bookings.version is 'Grows with every change; send it back as expected_version.';
comment on column public.bookings.accepted_id is 'Its id once it is accepted, else empty: what its session refers to.';
comment on constraint bookings_in_this_century on public.bookings is 'A booking lies between the years 2000 and 2100.';
comment on constraint bookings_note_is_bounded on public.bookings is 'A note has at most 1000 characters.';
comment on constraint bookings_reason_is_bounded on public.bookings is 'A reason has at most 1000 characters.';
comment on constraint bookings_accepted_with_these_times on public.bookings is
  'Lets a session refer to an accepted booking together with its people and times.';
create unique index bookings_asked_once on public.bookings (student_user_id, listing_id, starts_at) where status = 'draft';
create index bookings_listing on public.bookings (listing_id, tutor_user_id);
create index bookings_tutor on public.bookings (tutor_user_id, starts_at, id);
create index bookings_student on public.bookings (student_user_id, starts_at, id);
create index bookings_start on public.bookings (starts_at, id);
create index bookings_decided_by on public.bookings (decided_by_user_id) where decided_by_user_id is not null;

alter table public.sessions add constraint sessions_keep_the_bookings_people_and_times
  foreign key (booking_id, tutor_user_id, student_user_id, scheduled_start_utc, scheduled_end_utc)
  references public.bookings (accepted_id, tutor_user_id, student_user_id, starts_at, ends_at);
comment on constraint sessions_keep_the_bookings_people_and_times on public.sessions is
  'The session of a booking has its people and times, and the booking is and stays accepted.';
create index sessions_booking on public.sessions (booking_id, tutor_user_id, student_user_id, scheduled_start_utc, scheduled_end_utc)
  where booking_id is not null;

-- What every change brings along ---------------------------------------------------------------------

create trigger listings_touch before update on public.listings for each row execute function private.touch();
create trigger availability_touch before update on public.availability for each row execute function private.touch();
create trigger listings_audit after insert or update or delete on public.listings
  for each row execute function private.audit_change('listing');
create trigger availability_audit after insert or update or delete on public.availability
  for each row execute function private.audit_change('availability');
create trigger bookings_stay before delete or truncate on public.bookings
  for each statement execute function private.refuse_change('Bookings are never deleted: cancel them with cancel_booking.');

create function private.stamp_booking() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  if (old.listing_id, old.tutor_user_id, old.student_user_id, old.starts_at, old.ends_at)
     is distinct from (new.listing_id, new.tutor_user_id, new.student_user_id, new.starts_at, new.ends_at) then
    perform private.refuse(409, 'use_function',
      'A booking keeps its listing, people and time: end it with cancel_booking and make another with request_booking.');
  end if;
  -- A function raises the version; an edit by hand leaves it to this trigger.
  if new.version = old.version then
    if (old.status, old.decided_by_user_id, old.decided_by_role, old.decided_at)
       is distinct from (new.status, new.decided_by_user_id, new.decided_by_role, new.decided_at) then
      perform private.refuse(409, 'use_function',
        'A booking is decided with accept_booking, decline_booking or cancel_booking.');
    end if;
    new.version := old.version + 1;
  end if;
  new.updated_at := private.now();
  return new;
end;
$$;
comment on function private.stamp_booking() is 'Keeps what a booking never changes, and leaves decisions to their functions.';
create trigger bookings_stamp before update on public.bookings
  for each row execute function private.stamp_booking();

create function private.require_session_of_booking() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if not exists (select from public.sessions where booking_id = new.id) then
    perform private.refuse(409, 'use_function', 'A booking is accepted with accept_booking, which makes its session.');
  end if;
  return null;
end;
$$;
comment on function private.require_session_of_booking() is 'At the end of a transaction: an accepted booking has its session.';
create constraint trigger bookings_accepted_with_a_session after insert or update on public.bookings
  deferrable initially deferred
  for each row when (new.status = 'accepted') execute function private.require_session_of_booking();

insert into private.event_types (name, description) values
  ('booking.requested', 'A student asks for a lesson of a listing.'),
  ('booking.accepted', 'Its tutor has accepted a booking; session.booked tells of its session.'),
  ('booking.declined', 'Its tutor has declined a booking.'),
  ('booking.cancelled', 'Its student has cancelled a booking that was not accepted.'),
  ('session.booked', 'A session was made for an accepted booking.');

create function private.record_booking() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_word text := case when tg_op = 'INSERT' then 'requested' when new.status <> old.status then new.status::text end;
begin
  insert into public.audit_logs (actor_user_id, actor_role, action, entity_type, entity_id, reason, request_id, details)
  values (private.caller_id(),
          case
            when v_word = 'requested' and private.caller_id() = new.student_user_id then 'student'
            when v_word = new.status::text then new.decided_by_role
            else private.actor_role() end,
          'booking_' || coalesce(v_word, 'updated'), 'booking', new.id,
          case when v_word is not null then new.reason end, private.request_id(),
          case when v_word = new.status::text
            then jsonb_build_object('status', jsonb_build_object('from', old.status, 'to', new.status)) else '{}' end);
  if v_word is not null then
    perform private.record_event('booking.' || v_word, 'booking', new.id, jsonb_build_object(
      'booking_id', new.id, 'listing_id', new.listing_id,
      'tutor_id', new.tutor_user_id, 'student_id', new.student_user_id,
      'starts_at', new.starts_at, 'ends_at', new.ends_at, 'status', new.status, 'version', new.version), new.updated_at);
  end if;
  return null;
end;
$$;
comment on function private.record_booking() is 'Tells audit and outbox of a request and of what was decided; notes are never copied.';
create trigger bookings_record after insert or update on public.bookings
  for each row execute function private.record_booking();

-- Policies and grants --------------------------------------------------------------------------------

create function private.booking_counterparts() returns setof uuid
language sql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
  select student_user_id from public.bookings where tutor_user_id = (select private.caller_id())
  union
  select tutor_user_id from public.bookings where student_user_id = (select private.caller_id())
$$;
comment on function private.booking_counterparts() is 'The people who share a booking with the caller.';

alter table public.listings enable row level security;
alter table public.availability enable row level security;
alter table public.bookings enable row level security;
grant select on public.listings, public.availability, public.bookings to authenticated, service_role;
grant execute on function private.booking_counterparts() to authenticated;

alter policy "People read themselves and whom they share a match with, admins all" on public.profiles
  using (id = (select private.caller_id())
         or id in (select private.counterparts())
         or id in (select private.booking_counterparts())
         or (select private.is_admin()));
alter policy "People read themselves and whom they share a match with, admins all" on public.profiles
  rename to "People read themselves and whom they share a match or booking with, admins all";
create policy "Tutors read their own listings, admins all" on public.listings
  for select to authenticated
  using (tutor_user_id = (select private.caller_id()) or (select private.is_admin()));
create policy "Tutors read their own hours, admins all" on public.availability
  for select to authenticated
  using (tutor_user_id = (select private.caller_id()) or (select private.is_admin()));
create policy "Tutors and students read their own bookings, admins all" on public.bookings
  for select to authenticated
  using (tutor_user_id = (select private.caller_id())
         or student_user_id = (select private.caller_id())
         or (select private.is_admin()));

-- Listings -------------------------------------------------------------------------------------------

create function private.tutor_for(p_caller_id uuid, p_tutor_id uuid) returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_tutor_id uuid := coalesce(p_tutor_id, p_caller_id);
begin
  if v_tutor_id <> p_caller_id or not private.has_role(p_caller_id, 'tutor') then
    perform private.require_admin();
  end if;
  perform private.require_person(v_tutor_id, 'tutor', 'tutor_id');
  return v_tutor_id;
end;
$$;
comment on function private.tutor_for(uuid, uuid) is
  'The tutor a call is about: tutors speak for themselves, admins for any. Refuses: 403 not_allowed, 422 invalid.';

create function private.is_offered_to(p_listing public.listings, p_caller_id uuid) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select p_listing.tutor_user_id = p_caller_id
      or private.has_role(p_caller_id, 'admin')
      or (p_listing.is_active
          and exists (select from public.user_roles where profile_id = p_caller_id)
          and private.has_role(p_listing.tutor_user_id, 'tutor')
          and exists (select from public.accounts where profile_id = p_listing.tutor_user_id and deactivated_at is null))
$$;
comment on function private.is_offered_to(public.listings, uuid) is
  'Whether somebody sees a listing: its tutor and admins always, others of the house while it is active and its tutor is.';

create function private.listing_for(p_listing_id uuid, p_caller_id uuid) returns public.listings
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_listing public.listings;
begin
  select l.* into v_listing from public.listings l where l.id = p_listing_id and private.is_offered_to(l, p_caller_id);
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such listing.');
  end if;
  return v_listing;
end;
$$;
comment on function private.listing_for(uuid, uuid) is 'A listing that the caller may see. Refuses: 404.';

create function private.listing_documents(p_listing_ids uuid[], p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
      'id', l.id, 'tutor', private.person_card(t), 'title', l.title, 'description', l.description,
      'subject', l.subject, 'duration_mins', l.duration_mins,
      'meet_link', case when l.tutor_user_id = p_caller_id or private.has_role(p_caller_id, 'admin') then l.meet_link end,
      'is_active', l.is_active, 'created_at', l.created_at, 'updated_at', l.updated_at)
    order by l.created_at, l.id), '[]')
    from public.listings l join public.profiles t on t.id = l.tutor_user_id
   where l.id = any (p_listing_ids)
$$;
comment on function private.listing_documents(uuid[], uuid) is
  'Listings as every answer shows them, oldest first; the Meet link only to their tutor and admins.';

create function private.create_listing(
  p_title text, p_duration_mins integer, p_description text, p_subject text, p_meet_link text, p_is_active boolean, p_tutor_id uuid
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_tutor_id uuid := private.tutor_for(v_caller_id, p_tutor_id);
  v_listing_id uuid;
  v_violated text;
begin
  insert into public.listings (tutor_user_id, title, description, subject, duration_mins, meet_link, is_active)
  values (v_tutor_id, p_title, nullif(p_description, ''), nullif(p_subject, ''), coalesce(p_duration_mins, 60),
          nullif(p_meet_link, ''), coalesce(p_is_active, true))
  returning id into v_listing_id;
  return private.listing_documents(array[v_listing_id], v_caller_id) -> 0;
exception
  when check_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform private.refuse_violation(v_violated);
  when not_null_violation then
    perform private.refuse(422, 'invalid', 'A listing needs a title.', jsonb_build_object('field', 'title'));
end;
$$;

create function public.create_listing(
  p_title text, p_duration_mins integer default 60, p_description text default null, p_subject text default null,
  p_meet_link text default null, p_is_active boolean default true, p_tutor_id uuid default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_listing(p_title, p_duration_mins, p_description, p_subject, p_meet_link, p_is_active, p_tutor_id);
comment on function public.create_listing(text, integer, text, text, text, boolean, uuid) is
  'A tutor offers single lessons; an admin does for any tutor. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.create_listing(text, integer, text, text, text, boolean, uuid),
  public.create_listing(text, integer, text, text, text, boolean, uuid) to authenticated;

create function private.update_listing(
  p_listing_id uuid, p_title text, p_duration_mins integer, p_description text, p_subject text, p_meet_link text, p_is_active boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_listing public.listings := private.listing_for(p_listing_id, v_caller_id);
  v_violated text;
begin
  if v_listing.tutor_user_id <> v_caller_id or not private.has_role(v_caller_id, 'tutor') then
    perform private.require_admin();
  end if;
  update public.listings
     set title = coalesce(p_title, title),
         description = nullif(coalesce(p_description, description), ''),
         subject = nullif(coalesce(p_subject, subject), ''),
         duration_mins = coalesce(p_duration_mins, duration_mins),
         meet_link = nullif(coalesce(p_meet_link, meet_link), ''),
         is_active = coalesce(p_is_active, is_active)
   where id = p_listing_id;
  return private.listing_documents(array[p_listing_id], v_caller_id) -> 0;
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_listing(
  p_listing_id uuid, p_title text default null, p_duration_mins integer default null, p_description text default null,
  p_subject text default null, p_meet_link text default null, p_is_active boolean default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_listing(p_listing_id, p_title, p_duration_mins, p_description, p_subject, p_meet_link, p_is_active);
comment on function public.update_listing(uuid, text, integer, text, text, text, boolean) is
  'Its tutor or an admin changes a listing; null keeps, '''' clears description, subject and Meet link. Bookings that exist stay. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.update_listing(uuid, text, integer, text, text, text, boolean),
  public.update_listing(uuid, text, integer, text, text, text, boolean) to authenticated;

create function private.get_listing(p_listing_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_listing public.listings := private.listing_for(p_listing_id, v_caller_id);
begin
  return private.listing_documents(array[v_listing.id], v_caller_id) -> 0;
end;
$$;

create function public.get_listing(p_listing_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_listing(p_listing_id);
comment on function public.get_listing(uuid) is
  'One listing: an active one for everybody with a role, any for its tutor and admins. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.get_listing(uuid), public.get_listing(uuid) to authenticated;

create function private.list_listings(
  p_tutor_id uuid, p_after_created_at timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_limit integer := coalesce(p_limit, 50);
  v_ids uuid[];
begin
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  select array_agg(id order by created_at, id) into v_ids from (
    select l.id, l.created_at from public.listings l
     where (p_tutor_id is null or l.tutor_user_id = p_tutor_id)
       and (p_after_created_at is null or (l.created_at, l.id) > (p_after_created_at, p_after_id))
       and private.is_offered_to(l, v_caller_id)
     order by l.created_at, l.id limit v_limit + 1) as page;
  return jsonb_build_object(
    'listings', private.listing_documents(v_ids[1:v_limit], v_caller_id),
    'has_more', coalesce(cardinality(v_ids), 0) > v_limit);
end;
$$;

create function public.list_listings(
  p_tutor_id uuid default null, p_after_created_at timestamptz default null, p_after_id uuid default null,
  p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_listings(p_tutor_id, p_after_created_at, p_after_id, p_limit);
comment on function public.list_listings(uuid, timestamptz, uuid, integer) is
  'What is offered, oldest first, a page at a time; with the caller''s own that are not active (all, for admins). Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_listings(uuid, timestamptz, uuid, integer), public.list_listings(uuid, timestamptz, uuid, integer) to authenticated;

-- Hours of the week ----------------------------------------------------------------------------------

create function private.hours_of(p_tutor_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'timezone', coalesce(min(a.timezone), (select timezone from public.profiles where id = p_tutor_id)),
    'hours', coalesce(jsonb_agg(jsonb_build_object(
               'weekday', a.weekday, 'starts_at', a.starts_at, 'ends_at', a.ends_at)
             order by a.weekday, private.minute_of(a.starts_at)), '[]'))
    from public.availability a where a.tutor_user_id = p_tutor_id
$$;
comment on function private.hours_of(uuid) is 'A tutor''s hours and their zone; their own zone while they have none.';

create function private.availability_document(p_tutor_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object('tutor', private.person_card(t)) || private.hours_of(t.id)
    from public.profiles t where t.id = p_tutor_id
$$;

create function private.get_availability(p_tutor_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.availability_document(private.tutor_for(private.require_caller(), p_tutor_id));
end;
$$;

create function public.get_availability(p_tutor_id uuid default null) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_availability(p_tutor_id);
comment on function public.get_availability(uuid) is
  'A tutor''s own hours of the week (any tutor''s, for admins). Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function private.get_availability(uuid), public.get_availability(uuid) to authenticated;

create function private.set_availability(p_timezone text, p_hours jsonb, p_tutor_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_tutor_id uuid := private.tutor_for(private.require_caller(), p_tutor_id);
  v_hours public.availability[];
  v_violated text;
begin
  if private.is_timezone(p_timezone) is not true then
    perform private.refuse(422, 'invalid', 'timezone must be the name of a time zone.', jsonb_build_object('field', 'timezone'));
  end if;
  if jsonb_typeof(p_hours) is distinct from 'array' or jsonb_array_length(p_hours) > 50 then
    perform private.refuse(422, 'invalid', 'hours must be a list of at most 50.', jsonb_build_object('field', 'hours'));
  end if;
  perform private.lock_people(v_tutor_id, v_tutor_id);
  select array_agg(h) into v_hours from jsonb_populate_recordset(null::public.availability, p_hours) as h;
  -- What stays is left alone, so that the same hours again change nothing.
  delete from public.availability a
   where a.tutor_user_id = v_tutor_id
     and not exists (select from unnest(v_hours) as h
                      where (p_timezone, h.weekday, h.starts_at, h.ends_at) = (a.timezone, a.weekday, a.starts_at, a.ends_at));
  insert into public.availability (tutor_user_id, timezone, weekday, starts_at, ends_at)
  select distinct v_tutor_id, p_timezone, h.weekday, h.starts_at, h.ends_at
    from unnest(v_hours) as h
   where not exists (select from public.availability a
                      where a.tutor_user_id = v_tutor_id
                        and (a.weekday, a.starts_at, a.ends_at) = (h.weekday, h.starts_at, h.ends_at));
  return private.availability_document(v_tutor_id);
exception
  when check_violation or exclusion_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform private.refuse_violation(v_violated);
  when data_exception or not_null_violation or wrong_object_type then
    perform private.refuse(422, 'invalid', 'Hours are a list of weekday, starts_at and ends_at.', jsonb_build_object('field', 'hours'));
end;
$$;

create function public.set_availability(p_timezone text, p_hours jsonb, p_tutor_id uuid default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.set_availability(p_timezone, p_hours, p_tutor_id);
comment on function public.set_availability(text, jsonb, uuid) is
  'A tutor says, for the whole week at once, in which hours they can be booked: [{"weekday": 1..7, "starts_at": "HH:MM", "ends_at": "HH:MM"}]. Admins do for any tutor. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function private.set_availability(text, jsonb, uuid), public.set_availability(text, jsonb, uuid) to authenticated;

-- Free times -----------------------------------------------------------------------------------------

create function private.slot_rules(p_listing public.listings) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  -- What Google says of the tutor is a later chapter's, which a function in SQL could not wait for.
  return (select jsonb_build_object(
      'calendar', private.google_busy_of(t.id),
      'listing_id', p_listing.id, 'duration_mins', p_listing.duration_mins, 'tutor', private.person_card(t),
      'holidays', (select coalesce(jsonb_agg(jsonb_build_object('date', on_date, 'name', name) order by on_date), '[]')
                     from public.holidays),
      'time_off', (select coalesce(jsonb_agg(jsonb_build_object(
                            'id', o.id, 'of', 'tutor', 'starts_on', o.starts_on, 'ends_on', o.ends_on,
                            'starts_at', o.starts_at, 'ends_at', o.ends_at) order by o.id), '[]')
                     from public.time_off o where o.user_id = t.id)) || private.hours_of(t.id)
    from public.profiles t where t.id = p_listing.tutor_user_id);
end;
$$;
comment on function private.slot_rules(public.listings) is
  'What decides at which times a listing is offered at all, whichever days are asked for.';

create function private.fingerprint_of(p_rules jsonb) returns text
language sql immutable
set search_path = '' set timezone = 'UTC'
return encode(sha256(convert_to(p_rules::text, 'UTF8')), 'hex');

create function private.slot_inputs(p_listing_id uuid, p_from timestamptz, p_to timestamptz) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_listing public.listings := private.listing_for(p_listing_id, v_caller_id);
  v_rules jsonb := private.slot_rules(v_listing);
begin
  if p_from is null or p_to is null or not isfinite(p_from) or not isfinite(p_to)
     or p_to <= p_from or p_to - p_from > interval '62 days' then
    perform private.refuse(422, 'invalid', 'to must be after from, and at most 62 days.', jsonb_build_object('field', 'to'));
  end if;
  return (v_rules - 'calendar') || jsonb_build_object(
    'calendar_as_of', private.google_busy_as_of(v_listing.tutor_user_id),
    'fingerprint', private.fingerprint_of(v_rules),
    'now', private.now(),
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id),
    -- Whose lessons they are, and with whom, is nobody's business here; nor is what else the tutor has to do.
    'busy', (
      select coalesce(jsonb_agg(each || '{"of": "tutor"}'), '[]') from jsonb_array_elements(v_rules -> 'calendar') as each
       where tstzrange((each ->> 'start')::timestamptz, (each ->> 'end')::timestamptz)
             && tstzrange(p_from - interval '8 hours', p_to + interval '8 hours')
    ) || (
      select coalesce(jsonb_agg(jsonb_build_object(
               'start', b.scheduled_start_utc, 'end', b.scheduled_end_utc,
               'of', case
                 when b.tutor_user_id <> v_listing.tutor_user_id then 'student'
                 when b.student_user_id <> v_caller_id then 'tutor'
                 else 'both' end) order by b.scheduled_start_utc, b.id), '[]')
        from public.sessions b
       where (b.tutor_user_id = v_listing.tutor_user_id or b.student_user_id = v_caller_id)
         and b.status in ('scheduled', 'in_progress')
         and tstzrange(b.scheduled_start_utc, b.scheduled_end_utc)
             && tstzrange(p_from - interval '8 hours', p_to + interval '8 hours')));
end;
$$;

create function public.slot_inputs(p_listing_id uuid, p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.slot_inputs(p_listing_id, p_from, p_to);
comment on function public.slot_inputs(uuid, timestamptz, timestamptz) is
  'What the free times of a listing in at most 62 days follow from, for everybody who sees the listing. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.slot_inputs(uuid, timestamptz, timestamptz), public.slot_inputs(uuid, timestamptz, timestamptz) to authenticated;

-- Bookings -------------------------------------------------------------------------------------------

create function private.booking_documents(p_booking_ids uuid[]) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
      'id', b.id,
      'listing', jsonb_build_object('id', l.id, 'title', l.title, 'subject', l.subject),
      'tutor', private.person_card(t), 'student', private.person_card(u),
      'starts_at', b.starts_at, 'ends_at', b.ends_at,
      'status', b.status, 'note', b.note, 'reason', b.reason,
      'decided_by_user_id', b.decided_by_user_id, 'decided_by_role', b.decided_by_role, 'decided_at', b.decided_at,
      'session_id', s.id, 'version', b.version, 'created_at', b.created_at, 'updated_at', b.updated_at)
    order by b.starts_at, b.id), '[]')
    from public.bookings b
    join public.listings l on l.id = b.listing_id
    join public.profiles t on t.id = b.tutor_user_id
    join public.profiles u on u.id = b.student_user_id
    left join public.sessions s on s.booking_id = b.id
   where b.id = any (p_booking_ids)
$$;
comment on function private.booking_documents(uuid[]) is 'Bookings as every answer shows them, in order of start.';

create function private.booking_answer(p_booking_id uuid, p_caller_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'booking', private.booking_documents(array[p_booking_id]) -> 0,
  'session', private.session_documents(array(select id from public.sessions where booking_id = p_booking_id), p_caller_id) -> 0,
  'viewer_timezone', (select timezone from public.profiles where id = p_caller_id));
comment on function private.booking_answer(uuid, uuid) is 'A booking, and its session once it is accepted.';

create function private.booking_conflicts(
  p_tutor_id uuid, p_student_id uuid, p_slot tstzrange, p_caller_id uuid
) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_agg(jsonb_build_object(
           'start_utc', lower(p_slot), 'end_utc', upper(p_slot),
           'session_id', case
             when p_caller_id in (b.tutor_user_id, b.student_user_id) or private.has_role(p_caller_id, 'admin') then b.id end,
           'of', case
             when b.tutor_user_id <> p_tutor_id then 'student'
             when b.student_user_id <> p_student_id then 'tutor'
             else 'both' end) order by b.scheduled_start_utc, b.id)
    from public.sessions b
   where (b.tutor_user_id = p_tutor_id or b.student_user_id = p_student_id)
     and b.status in ('scheduled', 'in_progress')
     and tstzrange(b.scheduled_start_utc, b.scheduled_end_utc) && p_slot
$$;
comment on function private.booking_conflicts(uuid, uuid, tstzrange, uuid) is
  'The live sessions of the two people in the way of a time, null when there are none; the id only of a session the caller may see.';

create function private.request_booking(p_listing_id uuid, p_start_utc timestamptz, p_note text, p_fingerprint text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_listing public.listings := private.listing_for(p_listing_id, v_caller_id);
  v_slot tstzrange;
  v_booking_id uuid;
  v_conflicts jsonb;
  v_violated text;
begin
  if not private.has_role(v_caller_id, 'student') then
    perform private.refuse(403, 'not_allowed', 'Only a student may do this.');
  end if;
  if v_listing.tutor_user_id = v_caller_id then
    perform private.refuse(422, 'invalid', 'Nobody tutors themselves.', jsonb_build_object('field', 'listing_id'));
  end if;
  if p_start_utc is null or not isfinite(p_start_utc) then
    perform private.refuse(422, 'invalid', 'start_utc must be a time.', jsonb_build_object('field', 'start_utc'));
  end if;
  perform private.limit_calls('request_booking', 20, interval '1 hour');
  perform private.lock_people(v_listing.tutor_user_id, v_caller_id);
  select id into v_booking_id from public.bookings
   where student_user_id = v_caller_id and listing_id = p_listing_id and starts_at = p_start_utc and status = 'draft';
  if found then
    return private.booking_answer(v_booking_id, v_caller_id) || '{"changed": false}';
  end if;
  if p_fingerprint is distinct from private.fingerprint_of(private.slot_rules(v_listing)) then
    perform private.refuse(409, 'plan_changed', 'When the listing is offered has changed; look at its free times again.');
  end if;
  if p_start_utc <= private.now() then
    perform private.refuse(422, 'start_in_past', 'A lesson cannot be booked in the past.');
  end if;
  v_slot := tstzrange(p_start_utc, p_start_utc + make_interval(mins => v_listing.duration_mins));
  v_conflicts := private.booking_conflicts(v_listing.tutor_user_id, v_caller_id, v_slot, v_caller_id);
  if v_conflicts is not null then
    perform private.refuse(409, 'slot_taken', 'The tutor or the student has another live session then.',
                           jsonb_build_object('conflicts', v_conflicts));
  end if;
  insert into public.bookings (listing_id, tutor_user_id, student_user_id, starts_at, ends_at, note)
  values (p_listing_id, v_listing.tutor_user_id, v_caller_id, lower(v_slot), upper(v_slot), nullif(btrim(p_note), ''))
  returning id into v_booking_id;
  return private.booking_answer(v_booking_id, v_caller_id) || '{"changed": true}';
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.request_booking(
  p_listing_id uuid, p_start_utc timestamptz, p_note text default null, p_fingerprint text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.request_booking(p_listing_id, p_start_utc, p_note, p_fingerprint);
comment on function public.request_booking(uuid, timestamptz, text, text) is
  'A student asks for a time on a listing, up to 20 times an hour, with the fingerprint of slot_inputs; asked again while it waits, it is the same booking. Refuses: 401, 403 not_allowed, 404, 409 plan_changed, slot_taken, 422 start_in_past, invalid, 429 too_many_requests.';
grant execute on function
  private.request_booking(uuid, timestamptz, text, text), public.request_booking(uuid, timestamptz, text, text) to authenticated;

create function private.booking_side(p_booking_id uuid, p_caller_id uuid, p_to public.booking_status) returns public.actor_role
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_booking public.bookings;
  v_role public.actor_role;
begin
  select * into v_booking from public.bookings
   where id = p_booking_id
     and (p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such booking.');
  end if;
  v_role := case
    when private.has_role(p_caller_id, 'admin') then 'admin'
    when v_booking.tutor_user_id = p_caller_id and private.has_role(p_caller_id, 'tutor') then 'tutor'
    when v_booking.student_user_id = p_caller_id and private.has_role(p_caller_id, 'student') then 'student' end;
  if (v_role = 'admin'
      or (v_role = 'tutor' and p_to in ('accepted', 'declined'))
      or (v_role = 'student' and p_to = 'cancelled')) is not true then
    perform private.refuse(403, 'not_allowed', case p_to
      when 'cancelled' then 'Only its student or an admin may do this; its tutor may decline it.'
      else 'Only its tutor or an admin may do this.' end);
  end if;
  return v_role;
end;
$$;
comment on function private.booking_side(uuid, uuid, public.booking_status) is
  'In which capacity the caller may decide a booking so. Refuses: 404 when it is not theirs to see, 403 not_allowed.';

create function private.decide_booking(
  p_booking_id uuid, p_to public.booking_status, p_caller_id uuid, p_role public.actor_role, p_reason text, p_expected_version integer
) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_booking public.bookings;
  v_session_id uuid;
  v_violated text;
begin
  select * into v_booking from public.bookings where id = p_booking_id for update;
  if v_booking.status = p_to then
    return private.booking_answer(p_booking_id, p_caller_id) || '{"changed": false}';
  end if;
  if p_expected_version <> v_booking.version then
    perform private.refuse(409, 'stale_version', 'The booking has changed since you read it.',
                           jsonb_build_object('version', v_booking.version));
  end if;
  if v_booking.status <> 'draft' then
    perform private.refuse(409, 'illegal_transition', case v_booking.status
      when 'accepted' then 'An accepted booking keeps its session: ask for that to be cancelled, or ask an admin.'
      else format('A booking that is %s stays so; request another.', v_booking.status) end,
      jsonb_build_object('from', v_booking.status, 'to', p_to));
  end if;
  if p_to = 'accepted' and v_booking.starts_at <= private.now() then
    perform private.refuse(409, 'too_late', 'The time that was asked for has passed.',
                           jsonb_build_object('closed_at', v_booking.starts_at));
  end if;
  update public.bookings
     set status = p_to, reason = nullif(btrim(p_reason), ''),
         decided_by_user_id = p_caller_id, decided_by_role = p_role, decided_at = private.now(), version = version + 1
   where id = p_booking_id
  returning * into v_booking;
  if p_to = 'accepted' then
    perform private.book_session(v_booking);
  end if;
  return private.booking_answer(p_booking_id, p_caller_id) || '{"changed": true}';
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;
comment on function private.decide_booking(uuid, public.booking_status, uuid, public.actor_role, text, integer) is
  'Decides a draft for a caller whose side is known. Refuses: 409 stale_version, illegal_transition, too_late, slot_taken, 422 invalid.';

create function private.book_session(p_booking public.bookings) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_slot tstzrange := tstzrange(p_booking.starts_at, p_booking.ends_at);
begin
  perform private.lock_people(p_booking.tutor_user_id, p_booking.student_user_id);
  insert into public.sessions (booking_id, tutor_user_id, student_user_id, scheduled_start_utc, scheduled_end_utc,
                               meet_link, status_set_by, updated_by_user_id, updated_by_role)
  select p_booking.id, p_booking.tutor_user_id, p_booking.student_user_id, lower(v_slot), upper(v_slot),
         l.meet_link, p_booking.decided_by_role, p_booking.decided_by_user_id, p_booking.decided_by_role
    from public.listings l where l.id = p_booking.listing_id
  on conflict do nothing;
  if not found then
    perform private.refuse(409, 'slot_taken', 'The tutor or the student has another live session then.',
      jsonb_build_object('conflicts', private.booking_conflicts(
        p_booking.tutor_user_id, p_booking.student_user_id, v_slot, p_booking.decided_by_user_id)));
  end if;
end;
$$;
comment on function private.book_session(public.bookings) is
  'Makes the session of a booking just accepted, with its people, its times and the listing''s Meet link. Refuses: 409 slot_taken.';

create function private.accept_booking(p_booking_id uuid, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.booking_side(p_booking_id, v_caller_id, 'accepted');
begin
  return private.decide_booking(p_booking_id, 'accepted', v_caller_id, v_role, null, p_expected_version);
end;
$$;

create function public.accept_booking(p_booking_id uuid, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.accept_booking(p_booking_id, p_expected_version);
comment on function public.accept_booking(uuid, integer) is
  'Its tutor or an admin accepts a booking whose time is to come, which makes its session. Refuses: 401, 403 not_allowed, 404, 409 stale_version, illegal_transition, too_late, slot_taken.';
grant execute on function private.accept_booking(uuid, integer), public.accept_booking(uuid, integer) to authenticated;

create function private.decline_booking(p_booking_id uuid, p_reason text, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.booking_side(p_booking_id, v_caller_id, 'declined');
begin
  return private.decide_booking(p_booking_id, 'declined', v_caller_id, v_role, p_reason, p_expected_version);
end;
$$;

create function public.decline_booking(p_booking_id uuid, p_reason text default null, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.decline_booking(p_booking_id, p_reason, p_expected_version);
comment on function public.decline_booking(uuid, text, integer) is
  'Its tutor or an admin declines a draft. Refuses: 401, 403 not_allowed, 404, 409 stale_version, illegal_transition, 422 invalid.';
grant execute on function private.decline_booking(uuid, text, integer), public.decline_booking(uuid, text, integer) to authenticated;

create function private.cancel_booking(p_booking_id uuid, p_reason text, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_role public.actor_role := private.booking_side(p_booking_id, v_caller_id, 'cancelled');
begin
  return private.decide_booking(p_booking_id, 'cancelled', v_caller_id, v_role, p_reason, p_expected_version);
end;
$$;

create function public.cancel_booking(p_booking_id uuid, p_reason text default null, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.cancel_booking(p_booking_id, p_reason, p_expected_version);
comment on function public.cancel_booking(uuid, text, integer) is
  'Its student or an admin takes a draft back. Refuses: 401, 403 not_allowed, 404, 409 stale_version, illegal_transition, 422 invalid.';
grant execute on function private.cancel_booking(uuid, text, integer), public.cancel_booking(uuid, text, integer) to authenticated;

create function private.get_booking(p_booking_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
begin
  perform from public.bookings
    where id = p_booking_id
      and (v_caller_id in (tutor_user_id, student_user_id) or private.has_role(v_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such booking.');
  end if;
  return private.booking_answer(p_booking_id, v_caller_id);
end;
$$;

create function public.get_booking(p_booking_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_booking(p_booking_id);
comment on function public.get_booking(uuid) is
  'One booking of the caller''s (any, for admins), with its session once it is accepted. Refuses: 401, 403 not_allowed, 404 (also for somebody else''s).';
grant execute on function private.get_booking(uuid), public.get_booking(uuid) to authenticated;

create function private.list_bookings(
  p_role public.app_role, p_status public.booking_status[], p_from timestamptz, p_to timestamptz,
  p_after_start timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_is_admin boolean := private.has_role(v_caller_id, 'admin');
  v_limit integer := coalesce(p_limit, 50);
  v_sides text[];
  v_query text;
  v_ids uuid[];
begin
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  if p_role = 'admin' and not v_is_admin then
    perform private.refuse(403, 'not_allowed', 'Only an admin may do this.');
  end if;
  -- One branch for each side, so that each walks its own index from the start of the page.
  v_sides := case
    when v_is_admin and coalesce(p_role, 'admin') = 'admin' then array['true']
    else array_remove(array[
      case when coalesce(p_role, 'tutor') = 'tutor' then 'b.tutor_user_id = $1' end,
      case when coalesce(p_role, 'student') = 'student' then 'b.student_user_id = $1' end], null) end;
  select string_agg(format(
    '(select b.id, b.starts_at from public.bookings b
       where %s
         and ($2 is null or b.status = any ($2))
         and b.starts_at >= $3 and b.starts_at < $4
         and ($5 is null or (b.starts_at, b.id) > ($5, $6))
       order by b.starts_at, b.id limit $7)', side), ' union ') into v_query
    from unnest(v_sides) as side;
  execute format('select array_agg(id order by starts_at, id)
                    from (select * from (%s) as seen order by starts_at, id limit $7) as page', v_query)
    into v_ids
    using v_caller_id, p_status, coalesce(p_from, '-infinity'), coalesce(p_to, 'infinity'), p_after_start, p_after_id, v_limit + 1;
  return jsonb_build_object(
    'bookings', private.booking_documents(v_ids[1:v_limit]),
    'has_more', coalesce(cardinality(v_ids), 0) > v_limit,
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;

create function public.list_bookings(
  p_role public.app_role default null, p_status public.booking_status[] default null,
  p_from timestamptz default null, p_to timestamptz default null,
  p_after_start timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_bookings(p_role, p_status, p_from, p_to, p_after_start, p_after_id, p_limit);
comment on function public.list_bookings(
  public.app_role, public.booking_status[], timestamptz, timestamptz, timestamptz, uuid, integer) is
  'The caller''s bookings (all, for admins) that start in [from, to), a page at a time in order of start; p_role narrows to one side. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.list_bookings(public.app_role, public.booking_status[], timestamptz, timestamptz, timestamptz, uuid, integer),
  public.list_bookings(public.app_role, public.booking_status[], timestamptz, timestamptz, timestamptz, uuid, integer)
  to authenticated;
