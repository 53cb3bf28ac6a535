-- 2. People
--
-- Who there is. A person is a profile (what others may see: a name and a time zone) with an account
-- (what only they and admins see: e-mail, phone, whether they may act) and roles, several if need be.
--
-- A person and their sign-in are two things. `create_person` lets an admin enter people, match them and
-- sell them packages before they have ever signed up; when somebody confirms that e-mail address with
-- Supabase Auth, `private.link_account` ties the sign-in to the waiting person. Whoever signs up
-- unasked gets a profile without a role, which sees nothing; an address counts once it is confirmed.
-- Deleting the auth user in Studio unties it and keeps the history. `private.caller_id()` is the way back from a token to a person, and is
-- empty for the deactivated: every policy and every function asks it, so deactivation works at once.
--
-- The first admin is made by SQL: select private.grant_role('somebody@their.house', 'admin').

create type public.app_role as enum ('admin', 'tutor', 'student');
comment on type public.app_role is 'What a person is to the business.';

create table public.profiles (
  id uuid primary key default gen_random_uuid(),
  display_name text not null,
  timezone text not null default 'UTC',
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint profiles_display_name_is_a_line check (private.is_line(display_name, 120)),
  constraint profiles_timezone_exists check (private.is_timezone(timezone))
);
comment on table public.profiles is 'People as others see them: a name and a time zone, nothing more.';
comment on column public.profiles.timezone is 'IANA name; every answer gives times in it.';

create table public.accounts (
  profile_id uuid primary key references public.profiles (id) on delete cascade,
  auth_user_id uuid unique references auth.users (id) on delete set null,
  email text,
  phone text,
  whatsapp_opt_in boolean not null default false,
  language public.message_language,
  quiet_from text,
  quiet_until text,
  deactivated_at timestamptz,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint accounts_email_is_valid check (private.is_email(email)),
  constraint accounts_email_once unique (email),
  constraint accounts_phone_is_e164 check (private.is_e164(phone)),
  constraint accounts_opt_in_needs_a_phone check (phone is not null or not whatsapp_opt_in),
  constraint accounts_quiet_hours_are_times check (coalesce(
    private.is_clock_time(quiet_from) and private.is_clock_time(quiet_until), num_nonnulls(quiet_from, quiet_until) = 0))
);
comment on table public.accounts is 'How a person is reached and whether they may act; for themselves and admins.';
comment on column public.accounts.auth_user_id is 'The Supabase Auth user who signs in as this person; empty until they do.';
comment on column public.accounts.whatsapp_opt_in is 'Whether the person wants messages on WhatsApp.';
comment on column public.accounts.language is 'The language of their messages; empty: the house''s.';
comment on column public.accounts.quiet_from is 'From when on, on their own clock, nothing that can wait is sent; empty: the house''s hours.';
comment on column public.accounts.quiet_until is 'Until when, on their own clock, nothing that can wait is sent. Equal to quiet_from: no quiet hours.';
comment on column public.accounts.deactivated_at is 'From this moment the person can do nothing.';
comment on constraint accounts_opt_in_needs_a_phone on public.accounts is 'WhatsApp needs a phone.';
comment on constraint accounts_quiet_hours_are_times on public.accounts is 'quiet_from and quiet_until are times such as 21:00, both or neither.';

create table public.user_roles (
  profile_id uuid not null references public.profiles (id) on delete cascade,
  role public.app_role not null,
  created_at timestamptz not null default private.now(),
  primary key (profile_id, role)
);
comment on table public.user_roles is 'What each person may be; the only truth about roles.';

create table public.guardians (
  id uuid primary key default gen_random_uuid(),
  student_user_id uuid not null references public.profiles (id),
  name text not null,
  phone text,
  email text,
  timezone text not null,
  whatsapp_opt_in boolean not null default false,
  language public.message_language,
  quiet_from text,
  quiet_until text,
  is_primary boolean not null default false,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint guardians_name_is_a_line check (private.is_line(name, 120)),
  constraint guardians_phone_is_e164 check (private.is_e164(phone)),
  constraint guardians_email_is_valid check (private.is_email(email)),
  constraint guardians_timezone_exists check (private.is_timezone(timezone)),
  constraint guardians_can_be_reached check (num_nonnulls(phone, email) > 0),
  constraint guardians_opt_in_needs_a_phone check (phone is not null or not whatsapp_opt_in),
  constraint guardians_quiet_hours_are_times check (coalesce(
    private.is_clock_time(quiet_from) and private.is_clock_time(quiet_until), num_nonnulls(quiet_from, quiet_until) = 0))
);
comment on table public.guardians is 'Contacts of a student: who answers for them. They do not sign in.';
comment on column public.guardians.language is 'The language of their messages; empty: the house''s.';
comment on column public.guardians.quiet_from is 'From when on, on their own clock, nothing that can wait is sent; empty: the house''s hours.';
comment on column public.guardians.quiet_until is 'Until when, on their own clock, nothing that can wait is sent. Equal to quiet_from: no quiet hours.';
comment on column public.guardians.is_primary is 'The one who is asked; at most one for each student.';
comment on constraint guardians_can_be_reached on public.guardians is 'A guardian needs a phone or an e-mail address.';
comment on constraint guardians_opt_in_needs_a_phone on public.guardians is 'WhatsApp needs a phone.';
comment on constraint guardians_quiet_hours_are_times on public.guardians is 'quiet_from and quiet_until are times such as 21:00, both or neither.';
create index guardians_student on public.guardians (student_user_id);
create unique index guardians_one_primary on public.guardians (student_user_id) where is_primary;

-- Who is calling -------------------------------------------------------------------------------------

create function private.caller_id() returns uuid
language sql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
  select profile_id from public.accounts where auth_user_id = (select auth.uid()) and deactivated_at is null
$$;
comment on function private.caller_id() is 'The person behind the token; null without one, without an account, or deactivated.';

create function private.has_role(p_profile_id uuid, p_role public.app_role) returns boolean
language sql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
  select exists (select from public.user_roles where profile_id = p_profile_id and role = p_role)
$$;

create function private.is_admin() returns boolean
language sql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
  select private.has_role(private.caller_id(), 'admin')
$$;
comment on function private.is_admin() is 'Whether the caller is an active admin.';

create function private.require_caller() returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.caller_id();
begin
  if v_caller_id is null then
    if auth.uid() is null then
      perform private.refuse(401, 'not_signed_in', 'Sign in first.');
    end if;
    perform private.refuse(403, 'not_allowed', 'This account may not act here.');
  end if;
  return v_caller_id;
end;
$$;
comment on function private.require_caller() is 'The caller, or a refusal: 401 not_signed_in, 403 not_allowed.';

create function private.require_admin() returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
begin
  if not private.has_role(v_caller_id, 'admin') then
    perform private.refuse(403, 'not_allowed', 'Only an admin may do this.');
  end if;
  return v_caller_id;
end;
$$;

create function private.require_person(p_profile_id uuid, p_role public.app_role, p_field text) returns void
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform from public.accounts where profile_id = p_profile_id and deactivated_at is null;
  if not found or not private.has_role(p_profile_id, p_role) then
    perform private.refuse(422, 'invalid', format('%s must name an active %s.', p_field, p_role),
                           jsonb_build_object('field', p_field));
  end if;
end;
$$;
comment on function private.require_person(uuid, public.app_role, text) is
  'Refuses (422 invalid) an id that is not an active person of that role.';

create function private.lock_people(p_one uuid, p_other uuid) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  select from public.profiles where id in (p_one, p_other) order by id for no key update
$$;
comment on function private.lock_people(uuid, uuid) is
  'First in the lock order: two bulk inserts for the same people deadlock on the exclusion constraints without it.';

-- Linking a sign-in to a person ----------------------------------------------------------------------

create function private.link_account() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_email text := case when private.is_email(lower(new.email)) then lower(new.email) end;
  v_is_confirmed boolean := new.email_confirmed_at is not null;
  v_known public.accounts;
  v_own public.accounts;
  v_name text := btrim(coalesce(new.raw_user_meta_data ->> 'display_name', split_part(new.email, '@', 1)));
  v_timezone text := new.raw_user_meta_data ->> 'timezone';
begin
  select * into v_known from public.accounts where email = v_email;
  select * into v_own from public.accounts where auth_user_id = new.id;
  if v_known.profile_id is not null and v_known.auth_user_id is null then
    -- Somebody is expected under this address: only its confirmed owner becomes that person, and gives up
    -- the empty profile of an earlier sign-up. Whoever is somebody already stays who they are.
    if v_is_confirmed and not exists (select from public.user_roles where profile_id = v_own.profile_id) then
      update public.accounts set auth_user_id = null where profile_id = v_own.profile_id;
      update public.accounts set auth_user_id = new.id where profile_id = v_known.profile_id;
    end if;
  elsif v_own.profile_id is not null then
    if v_is_confirmed and v_known.profile_id is null and v_email is not null then
      update public.accounts set email = v_email where profile_id = v_own.profile_id;
    end if;
  else
    insert into public.profiles (id, display_name, timezone)
    values (new.id,
            case when private.is_line(v_name, 120) then v_name else 'New person' end,
            case when private.is_timezone(v_timezone) then v_timezone else 'UTC' end);
    insert into public.accounts (profile_id, auth_user_id, email)
    values (new.id, new.id, case when v_is_confirmed and v_known.profile_id is null then v_email end);
  end if;
  return null;
end;
$$;
comment on function private.link_account() is
  'On sign-up or confirmation: ties the auth user to the person waiting under that address, else makes a profile without a role.';

create trigger link_account after insert or update of email, email_confirmed_at on auth.users
  for each row execute function private.link_account();

create function private.grant_role(p_email text, p_role public.app_role) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_profile_id uuid := (select profile_id from public.accounts where email = lower(p_email));
begin
  if v_profile_id is null then
    perform private.refuse(404, 'not_found', 'Nobody has that e-mail address; a sign-up counts once its address is confirmed.');
  end if;
  insert into public.user_roles (profile_id, role) values (v_profile_id, p_role) on conflict do nothing;
end;
$$;
comment on function private.grant_role(text, public.app_role) is
  'Run by hand to make the first admin: select private.grant_role(''somebody@their.house'', ''admin'').';

-- Triggers -------------------------------------------------------------------------------------------

create trigger profiles_touch before update on public.profiles for each row execute function private.touch();
create trigger accounts_touch before update on public.accounts for each row execute function private.touch();
create trigger guardians_touch before update on public.guardians for each row execute function private.touch();
create trigger profiles_audit after update on public.profiles
  for each row execute function private.audit_change('person', 'display_name');
create trigger accounts_audit after update on public.accounts
  for each row execute function private.audit_change('person', 'email,phone,auth_user_id');
create trigger user_roles_audit after insert or update or delete on public.user_roles
  for each row execute function private.audit_change('role');
create trigger guardians_audit after insert or update or delete on public.guardians
  for each row execute function private.audit_change('guardian', 'name,phone,email');

create function private.keep_an_admin() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if tg_table_name = 'accounts'
     and not exists (select from public.user_roles where profile_id = old.profile_id and role = 'admin') then
    return null;
  end if;
  -- Two admins who remove each other at once must not both succeed.
  perform pg_advisory_xact_lock(hashtextextended('lessonkeeper.admins', 0));
  if not exists (select from public.user_roles r join public.accounts a using (profile_id)
                  where r.role = 'admin' and a.deactivated_at is null) then
    perform private.refuse(409, 'last_admin', 'The last active admin must stay one.');
  end if;
  return null;
end;
$$;
create trigger user_roles_keep_an_admin after update or delete on public.user_roles
  for each row when (old.role = 'admin') execute function private.keep_an_admin();
create trigger accounts_keep_an_admin after update of deactivated_at on public.accounts
  for each row when (old.deactivated_at is null and new.deactivated_at is not null)
  execute function private.keep_an_admin();
create trigger accounts_keep_an_admins_account after delete on public.accounts
  for each row execute function private.keep_an_admin();

-- Policies and grants: reading alone; every write is a function ----------------------------------------

alter table public.profiles enable row level security;
alter table public.accounts enable row level security;
alter table public.user_roles enable row level security;
alter table public.guardians enable row level security;
grant select on public.profiles, public.accounts, public.user_roles, public.guardians to authenticated, service_role;
grant select on public.audit_logs to authenticated, service_role;

create policy "People read their own account, admins read all" on public.accounts
  for select to authenticated
  using (profile_id = (select private.caller_id()) or (select private.is_admin()));
create policy "People read their own roles, admins read all" on public.user_roles
  for select to authenticated
  using (profile_id = (select private.caller_id()) or (select private.is_admin()));
create policy "Students read their own guardians, admins read all" on public.guardians
  for select to authenticated
  using (student_user_id = (select private.caller_id()) or (select private.is_admin()));
create policy "Admins read the audit" on public.audit_logs
  for select to authenticated
  using ((select private.is_admin()));

grant execute on function private.caller_id(), private.is_admin() to authenticated;

-- Functions ------------------------------------------------------------------------------------------

create function private.person_card(p_profile public.profiles) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object('id', p_profile.id, 'display_name', p_profile.display_name, 'timezone', p_profile.timezone);
comment on function private.person_card(public.profiles) is 'A person as others see them.';

create function private.person_document(p_profile_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select private.person_card(p) || jsonb_build_object(
           'email', a.email,
           'phone', a.phone,
           'whatsapp_opt_in', a.whatsapp_opt_in,
           'language', a.language,
           'quiet_from', a.quiet_from,
           'quiet_until', a.quiet_until,
           'roles', (select coalesce(jsonb_agg(r.role order by r.role), '[]') from public.user_roles r where r.profile_id = p.id),
           'is_active', a.deactivated_at is null,
           'has_account', a.auth_user_id is not null)
    from public.profiles p join public.accounts a on a.profile_id = p.id
   where p.id = p_profile_id
$$;
comment on function private.person_document(uuid) is 'A person as they themselves and admins see them.';

create function private.get_me() returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  return private.person_document(private.require_caller());
end;
$$;

create function public.get_me() returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_me();
comment on function public.get_me() is
  'The caller: name, time zone, contact details and roles. Refuses: 401 not_signed_in, 403 not_allowed.';
grant execute on function private.get_me(), public.get_me() to authenticated;

create function private.update_me(
  p_display_name text, p_timezone text, p_language text, p_quiet_from text, p_quiet_until text, p_whatsapp_opt_in boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_violated text;
begin
  perform private.limit_calls('update_me', 60, interval '1 hour');
  update public.profiles
     set display_name = coalesce(p_display_name, display_name), timezone = coalesce(p_timezone, timezone)
   where id = v_caller_id;
  update public.accounts
     set language = nullif(coalesce(p_language, language::text), '')::public.message_language,
         quiet_from = nullif(coalesce(p_quiet_from, quiet_from), ''),
         quiet_until = nullif(coalesce(p_quiet_until, quiet_until), ''),
         whatsapp_opt_in = coalesce(p_whatsapp_opt_in, whatsapp_opt_in)
   where profile_id = v_caller_id;
  return private.person_document(v_caller_id);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_me(
  p_display_name text default null, p_timezone text default null, p_language text default null,
  p_quiet_from text default null, p_quiet_until text default null, p_whatsapp_opt_in boolean default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_me(p_display_name, p_timezone, p_language, p_quiet_from, p_quiet_until, p_whatsapp_opt_in);
comment on function public.update_me(text, text, text, text, text, boolean) is
  'Changes the caller''s name, time zone, or how messages reach them; null keeps, '''' gives language or quiet hours back to the house. Refuses: 401 not_signed_in, 403 not_allowed, 422 invalid, 429 too_many_requests.';
grant execute on function
  private.update_me(text, text, text, text, text, boolean),
  public.update_me(text, text, text, text, text, boolean) to authenticated;

create function private.set_roles(p_profile_id uuid, p_roles public.app_role[]) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into public.user_roles (profile_id, role)
  select p_profile_id, role from unnest(p_roles) as role on conflict do nothing;
  delete from public.user_roles where profile_id = p_profile_id and role <> all (p_roles);
end;
$$;

create function private.create_person(
  p_email text, p_display_name text, p_timezone text, p_roles public.app_role[], p_phone text, p_language text,
  p_whatsapp_opt_in boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_email text := lower(p_email);
  v_language public.message_language := nullif(p_language, '');
  v_profile_id uuid;
  v_violated text;
begin
  perform private.require_admin();
  if v_email is null then
    perform private.refuse(422, 'invalid', 'email must be the address the person will sign in with.',
                           jsonb_build_object('field', 'email'));
  end if;
  select profile_id into v_profile_id from public.accounts where email = v_email;
  if v_profile_id is null then
    insert into public.profiles (display_name, timezone) values (p_display_name, p_timezone) returning id into v_profile_id;
    insert into public.accounts (profile_id, email, phone, language, whatsapp_opt_in)
    values (v_profile_id, v_email, nullif(p_phone, ''), v_language, coalesce(p_whatsapp_opt_in, false));
  else
    -- Whoever signed up unasked has no role yet and is taken in; anybody else is here already.
    perform private.lock_people(v_profile_id, v_profile_id);
    if exists (select from public.user_roles where profile_id = v_profile_id) then
      perform private.refuse(409, 'already_exists', 'Somebody with that e-mail address is here already.',
                             jsonb_build_object('person_id', v_profile_id));
    end if;
    update public.profiles set display_name = p_display_name, timezone = p_timezone where id = v_profile_id;
    update public.accounts
       set phone = coalesce(nullif(p_phone, ''), phone), language = coalesce(v_language, language),
           whatsapp_opt_in = coalesce(p_whatsapp_opt_in, whatsapp_opt_in)
     where profile_id = v_profile_id;
  end if;
  perform private.set_roles(v_profile_id, coalesce(p_roles, '{}'));
  perform private.record_audit('person_created', 'person', v_profile_id);
  return private.person_document(v_profile_id);
exception
  when unique_violation then
    perform private.refuse(409, 'already_exists', 'Somebody with that e-mail address was entered just now.');
  when check_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform private.refuse_violation(v_violated);
end;
$$;

create function public.create_person(
  p_email text, p_display_name text, p_timezone text, p_roles public.app_role[], p_phone text default null,
  p_language text default null, p_whatsapp_opt_in boolean default false
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_person(p_email, p_display_name, p_timezone, p_roles, p_phone, p_language, p_whatsapp_opt_in);
comment on function public.create_person(text, text, text, public.app_role[], text, text, boolean) is
  'Admins enter a person, who becomes theirs to sign in as by confirming that e-mail address. Refuses: 401, 403 not_allowed, 409 already_exists, 422 invalid.';
grant execute on function
  private.create_person(text, text, text, public.app_role[], text, text, boolean),
  public.create_person(text, text, text, public.app_role[], text, text, boolean) to authenticated;

create function private.update_person(
  p_person_id uuid, p_display_name text, p_timezone text, p_phone text, p_roles public.app_role[], p_is_active boolean,
  p_language text, p_whatsapp_opt_in boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_violated text;
begin
  perform private.require_admin();
  update public.profiles
     set display_name = coalesce(p_display_name, display_name), timezone = coalesce(p_timezone, timezone)
   where id = p_person_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such person.');
  end if;
  update public.accounts
     set phone = nullif(coalesce(p_phone, phone), ''),
         -- A phone that goes takes the wish for WhatsApp along.
         whatsapp_opt_in = coalesce(p_whatsapp_opt_in, whatsapp_opt_in and p_phone is distinct from ''),
         language = nullif(coalesce(p_language, language::text), '')::public.message_language,
         deactivated_at = case
           when p_is_active then null
           when not p_is_active then coalesce(deactivated_at, private.now())
           else deactivated_at end
   where profile_id = p_person_id;
  if p_roles is not null then
    perform private.set_roles(p_person_id, p_roles);
  end if;
  return private.person_document(p_person_id);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_person(
  p_person_id uuid, p_display_name text default null, p_timezone text default null, p_phone text default null,
  p_roles public.app_role[] default null, p_is_active boolean default null, p_language text default null,
  p_whatsapp_opt_in boolean default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_person(
  p_person_id, p_display_name, p_timezone, p_phone, p_roles, p_is_active, p_language, p_whatsapp_opt_in);
comment on function public.update_person(uuid, text, text, text, public.app_role[], boolean, text, boolean) is
  'Admins change a person, their roles, or whether they may act; null keeps, '''' clears phone or language. Refuses: 401, 403 not_allowed, 404, 409 last_admin, 422 invalid.';
grant execute on function
  private.update_person(uuid, text, text, text, public.app_role[], boolean, text, boolean),
  public.update_person(uuid, text, text, text, public.app_role[], boolean, text, boolean) to authenticated;

create function private.guardian_document(p_guardian public.guardians) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', p_guardian.id, 'student_id', p_guardian.student_user_id, 'name', p_guardian.name,
  'phone', p_guardian.phone, 'email', p_guardian.email, 'timezone', p_guardian.timezone,
  'whatsapp_opt_in', p_guardian.whatsapp_opt_in, 'language', p_guardian.language,
  'quiet_from', p_guardian.quiet_from, 'quiet_until', p_guardian.quiet_until, 'is_primary', p_guardian.is_primary);

create function private.create_guardian(
  p_student_id uuid, p_name text, p_timezone text, p_phone text, p_email text, p_whatsapp_opt_in boolean, p_is_primary boolean,
  p_language text, p_quiet_from text, p_quiet_until text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_guardian public.guardians;
  v_is_primary boolean;
  v_violated text;
begin
  perform private.require_admin();
  perform private.require_person(p_student_id, 'student', 'student_id');
  perform private.lock_people(p_student_id, p_student_id);
  v_is_primary := coalesce(p_is_primary,
    not exists (select from public.guardians where student_user_id = p_student_id and is_primary));
  if v_is_primary then
    update public.guardians set is_primary = false where student_user_id = p_student_id and is_primary;
  end if;
  insert into public.guardians (
    student_user_id, name, phone, email, timezone, whatsapp_opt_in, language, quiet_from, quiet_until, is_primary)
  values (p_student_id, p_name, nullif(p_phone, ''), nullif(lower(p_email), ''), p_timezone, coalesce(p_whatsapp_opt_in, false),
          nullif(p_language, '')::public.message_language, nullif(p_quiet_from, ''), nullif(p_quiet_until, ''), v_is_primary)
  returning * into v_guardian;
  return private.guardian_document(v_guardian);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.create_guardian(
  p_student_id uuid, p_name text, p_timezone text, p_phone text default null, p_email text default null,
  p_whatsapp_opt_in boolean default false, p_is_primary boolean default null, p_language text default null,
  p_quiet_from text default null, p_quiet_until text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_guardian(
  p_student_id, p_name, p_timezone, p_phone, p_email, p_whatsapp_opt_in, p_is_primary, p_language, p_quiet_from, p_quiet_until);
comment on function public.create_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text) is
  'Admins enter a contact of a student; the first is primary unless said otherwise. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.create_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text),
  public.create_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text) to authenticated;

create function private.update_guardian(
  p_guardian_id uuid, p_name text, p_timezone text, p_phone text, p_email text, p_whatsapp_opt_in boolean, p_is_primary boolean,
  p_language text, p_quiet_from text, p_quiet_until text
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_guardian public.guardians;
  v_violated text;
begin
  perform private.require_admin();
  select * into v_guardian from public.guardians where id = p_guardian_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such guardian.');
  end if;
  perform private.lock_people(v_guardian.student_user_id, v_guardian.student_user_id);
  if p_is_primary then
    update public.guardians set is_primary = false
     where student_user_id = v_guardian.student_user_id and is_primary and id <> p_guardian_id;
  end if;
  update public.guardians
     set name = coalesce(p_name, name),
         timezone = coalesce(p_timezone, timezone),
         phone = nullif(coalesce(p_phone, phone), ''),
         email = nullif(lower(coalesce(p_email, email)), ''),
         whatsapp_opt_in = coalesce(p_whatsapp_opt_in, whatsapp_opt_in),
         language = nullif(coalesce(p_language, language::text), '')::public.message_language,
         quiet_from = nullif(coalesce(p_quiet_from, quiet_from), ''),
         quiet_until = nullif(coalesce(p_quiet_until, quiet_until), ''),
         is_primary = coalesce(p_is_primary, is_primary)
   where id = p_guardian_id
  returning * into v_guardian;
  return private.guardian_document(v_guardian);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_guardian(
  p_guardian_id uuid, p_name text default null, p_timezone text default null, p_phone text default null,
  p_email text default null, p_whatsapp_opt_in boolean default null, p_is_primary boolean default null,
  p_language text default null, p_quiet_from text default null, p_quiet_until text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_guardian(
  p_guardian_id, p_name, p_timezone, p_phone, p_email, p_whatsapp_opt_in, p_is_primary, p_language, p_quiet_from, p_quiet_until);
comment on function public.update_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text) is
  'Admins change a contact; null keeps, '''' clears phone, e-mail, language or quiet hours. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.update_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text),
  public.update_guardian(uuid, text, text, text, text, boolean, boolean, text, text, text) to authenticated;
