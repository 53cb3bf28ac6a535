-- 7. Credits
--
-- Prepaid sessions, kept exactly right. The truth is `credit_ledger`, append-only and chained: a session's
-- odd entries charge its package one credit, its even entries give that one back, and every entry refers
-- to the one before it. So a session's net is 0 or 1 by construction, and two writers who both mean to
-- charge meet in the primary key.
--
--   a session's status changes  →  sessions_charge appends an entry when the new status differs from what
--                                  the ledger says of it (done and no_show_student cost one credit)
--   an entry is appended        →  credit_ledger_move_cache moves packages.sessions_used, or refuses
--                                  402 package_exhausted
--   sessions_used is written    →  packages_keep_cache refuses a value that the ledger does not bear out
--
-- A session is charged to its own package; `move_session_to_package` makes another its own, and the credit goes
-- with it. `get_statement` shows a family every credit. Sessions of bookings touch no ledger.

create table public.credit_ledger (
  session_id uuid not null references public.sessions (id),
  entry_no integer not null,
  package_id uuid not null references public.packages (id),
  amount integer not null generated always as (case when entry_no % 2 = 1 then 1 else -1 end) stored,
  previous_entry_no integer generated always as (nullif(entry_no - 1, 0)) stored,
  reverses_entry_no integer generated always as (case when entry_no % 2 = 0 then entry_no - 1 end) stored,
  actor_user_id uuid,
  actor_role public.actor_role not null,
  reason text,
  created_at timestamptz not null default private.now(),
  recorded_no bigint not null generated always as identity,
  primary key (session_id, entry_no),
  constraint credit_ledger_starts_at_one check (entry_no >= 1),
  constraint credit_ledger_names_package unique (session_id, entry_no, package_id),
  constraint credit_ledger_follows_predecessor foreign key (session_id, previous_entry_no)
    references public.credit_ledger (session_id, entry_no),
  constraint credit_ledger_gives_back_what_it_took foreign key (session_id, reverses_entry_no, package_id)
    references public.credit_ledger (session_id, entry_no, package_id)
);
comment on table public.credit_ledger is 'Every credit taken and given back. Append-only; written by the change of a session alone.';
comment on column public.credit_ledger.amount is 'Credits: +1 for odd entries, -1 for even ones.';
comment on column public.credit_ledger.actor_user_id is 'The person (profiles.id) whose change of the session it was; empty for the clock and Studio.';
comment on column public.credit_ledger.actor_role is 'In which capacity they made it.';
comment on column public.credit_ledger.recorded_no is 'The order of the entries of a package: its row is locked when one is written, while times may be equal.';
comment on constraint credit_ledger_follows_predecessor on public.credit_ledger is 'No gaps: an entry refers to the one before it.';
comment on constraint credit_ledger_gives_back_what_it_took on public.credit_ledger is 'A credit goes back to the package it was taken from.';
create index credit_ledger_package on public.credit_ledger (package_id, session_id, entry_no);
create index credit_ledger_previous on public.credit_ledger (session_id, previous_entry_no);
create index credit_ledger_reverses on public.credit_ledger (session_id, reverses_entry_no, package_id);

create trigger credit_ledger_append_only before update or delete or truncate on public.credit_ledger
  for each statement execute function private.refuse_change(
    'The ledger is append-only: correct the session with tutor_update_session.');

create function private.exhausted_refusal(p_package_id uuid) returns jsonb
language sql immutable
set search_path = '' set timezone = 'UTC'
return private.refusal(402, 'package_exhausted',
  'The package has no credit left. Raise its tier with update_package, sell another with create_package, charge the session to another with move_session_to_package, or correct a session that was charged wrongly.',
  jsonb_build_object('package_id', p_package_id));

create function private.credit_refusal(p_session public.sessions, p_to public.session_status_enum) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select private.exhausted_refusal(id) from public.packages
   where id = p_session.package_id and sessions_used >= tier_sessions
     and private.consumes_credit(p_to) and not private.consumes_credit(p_session.status)
$$;
comment on function private.credit_refusal(public.sessions, public.session_status_enum) is
  'What the ledger would answer to that step now: null, or 402 package_exhausted.';

create function private.move_cache() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_move record;
begin
  for v_move in
    select package_id, sum(amount)::integer as credits from new_entries group by package_id order by package_id
  loop
    update public.packages set sessions_used = sessions_used + v_move.credits
     where id = v_move.package_id and sessions_used + v_move.credits <= tier_sessions;
    if not found then
      perform private.refuse_if(private.exhausted_refusal(v_move.package_id));
    end if;
  end loop;
  return null;
end;
$$;
create trigger credit_ledger_move_cache after insert on public.credit_ledger
  referencing new table as new_entries
  for each statement execute function private.move_cache();

create function private.keep_cache() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  if (new.request_id, new.student_user_id, new.opening_used)
     is distinct from (old.request_id, old.student_user_id, old.opening_used) then
    perform private.refuse(409, 'use_function',
      'A package keeps its request and what was used before it: create another with create_package.');
  end if;
  if new.sessions_used <> old.sessions_used
     and new.sessions_used <> new.opening_used
         + (select coalesce(sum(amount), 0) from public.credit_ledger where package_id = new.id) then
    perform private.refuse(409, 'use_function',
      'sessions_used follows the credit ledger: correct a session with tutor_update_session.');
  end if;
  return new;
end;
$$;
create trigger packages_keep_cache before update on public.packages
  for each row execute function private.keep_cache();

create function private.charge_sessions() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  -- All packages of the statement in one order before the first entry, or two batches could deadlock.
  perform from public.packages
    where id in (select unnest(array[o.package_id, n.package_id])
                   from new_sessions n join old_sessions o using (id)
                  where private.consumes_credit(n.status) <> private.consumes_credit(o.status)
                     or n.package_id <> o.package_id)
    order by id for update;
  if not found then
    return null;
  end if;
  -- Back to where it was taken from, then from where it belongs now; the ledger, not the old row, knows.
  insert into public.credit_ledger (session_id, entry_no, package_id, actor_user_id, actor_role, reason)
  select n.id, last.entry_no + 1, last.package_id, n.updated_by_user_id, n.updated_by_role, n.status_reason
    from new_sessions n
   cross join lateral (select entry_no, package_id from public.credit_ledger
                        where session_id = n.id order by entry_no desc limit 1) last
   where last.entry_no % 2 = 1 and (not private.consumes_credit(n.status) or last.package_id <> n.package_id);
  insert into public.credit_ledger (session_id, entry_no, package_id, actor_user_id, actor_role, reason)
  select n.id, l.entries + 1, n.package_id, n.updated_by_user_id, n.updated_by_role, n.status_reason
    from new_sessions n
   cross join lateral (select count(*)::integer as entries from public.credit_ledger where session_id = n.id) l
   where n.package_id is not null and private.consumes_credit(n.status) and l.entries % 2 = 0;
  return null;
end;
$$;
create trigger sessions_charge after update on public.sessions
  referencing old table as old_sessions new table as new_sessions
  for each statement execute function private.charge_sessions();

create function private.charge_new_sessions() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into public.credit_ledger (session_id, entry_no, package_id, actor_user_id, actor_role, reason)
  select id, 1, package_id, updated_by_user_id, updated_by_role, status_reason
    from new_sessions
   where package_id is not null and private.consumes_credit(status);
  return null;
end;
$$;
comment on function private.charge_new_sessions() is 'A session entered by hand as done costs its credit like any other.';
create trigger sessions_charge_births after insert on public.sessions
  referencing new table as new_sessions
  for each statement execute function private.charge_new_sessions();

create view private.credit_differences as
  select p.id as package_id, p.sessions_used, p.opening_used + coalesce(sum(l.amount), 0) as ledger_says
    from public.packages p left join public.credit_ledger l on l.package_id = p.id
   group by p.id
  having p.sessions_used <> p.opening_used + coalesce(sum(l.amount), 0);
comment on view private.credit_differences is 'Packages whose cache and ledger differ. Always empty.';

alter table public.credit_ledger enable row level security;
grant select on public.credit_ledger to authenticated, service_role;
create policy "Who reads a package reads its credits" on public.credit_ledger
  for select to authenticated
  using (package_id in (select id from public.packages));

-- Functions ------------------------------------------------------------------------------------------

create function private.move_session_to_package(p_session_id uuid, p_package_id uuid, p_reason text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_session public.sessions;
  v_package public.packages;
begin
  select * into v_session from public.sessions where id = p_session_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  if v_session.match_id is null then
    perform private.refuse(409, 'illegal_transition', 'The session of a booking has no package.');
  end if;
  perform from public.packages where id in (v_session.package_id, p_package_id) order by id for update;
  select p.* into v_package from public.packages p join public.matches m using (request_id)
   where p.id = p_package_id and m.id = v_session.match_id;
  if not found then
    perform private.refuse(422, 'invalid', 'package_id must name a package of the session''s own request.',
                           jsonb_build_object('field', 'package_id'));
  end if;
  if v_session.package_id = p_package_id then
    return private.session_answer(p_session_id, v_caller_id) || '{"changed": false}';
  end if;
  if btrim(coalesce(p_reason, '')) = '' then
    perform private.refuse(422, 'reason_required', 'Say why.', jsonb_build_object('field', 'reason'));
  end if;
  if v_package.status <> 'active' then
    perform private.refuse(422, 'no_active_package', 'The package is cancelled.');
  end if;
  if private.counts_in_package(v_session.status) and private.sessions_needed(v_package) = 0 then
    perform private.refuse_if(private.exhausted_refusal(p_package_id));
  end if;
  if exists (select from public.sessions
              where package_id = p_package_id and occurrence_start_utc = v_session.occurrence_start_utc) then
    perform private.refuse(409, 'already_exists', 'The package has a session of that date already.');
  end if;
  update public.sessions
     set package_id = p_package_id,
         sequence_number = (select coalesce(max(sequence_number), 0) + 1 from public.sessions where package_id = p_package_id),
         status_reason = btrim(p_reason),
         version = version + 1, updated_by_user_id = v_caller_id, updated_by_role = 'admin'
   where id = p_session_id;
  return private.session_answer(p_session_id, v_caller_id) || '{"changed": true}';
end;
$$;

create function public.move_session_to_package(p_session_id uuid, p_package_id uuid, p_reason text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.move_session_to_package(p_session_id, p_package_id, p_reason);
comment on function public.move_session_to_package(uuid, uuid, text) is
  'Admins charge a session to another package of the same request; a credit taken goes back to the old one and is taken from the new one. Refuses: 401, 402 package_exhausted, 403 not_allowed, 404, 409 illegal_transition, already_exists, 422 reason_required, no_active_package, invalid.';
grant execute on function
  private.move_session_to_package(uuid, uuid, text), public.move_session_to_package(uuid, uuid, text) to authenticated;

create function private.get_statement(p_package_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_is_admin boolean := private.is_admin();
  v_package public.packages;
begin
  select * into v_package from public.packages
   where id = p_package_id
     and (v_is_admin or student_user_id = v_caller_id
          or request_id in (select request_id from public.matches where tutor_user_id = v_caller_id));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such package.');
  end if;
  if not v_is_admin and v_package.student_user_id <> v_caller_id then
    perform private.refuse(403, 'not_allowed', 'Only its student and admins read a statement.');
  end if;
  return (
    select jsonb_build_object(
      'package', private.package_document(v_package),
      'student', private.person_card(u), 'subject', r.subject, 'level', r.level,
      'entries', (
        select coalesce(jsonb_agg(to_jsonb(line) - 'recorded_no' order by line.recorded_no), '[]') from (
          select l.created_at as at, l.session_id, l.entry_no, l.amount,
                 v_package.tier_sessions - v_package.opening_used
                   - sum(l.amount) over (order by l.recorded_no) as sessions_left, l.recorded_no,
                 s.sequence_number, s.scheduled_start_utc, s.status, t.display_name as tutor,
                 l.actor_role as by_role,
                 -- A family knows the tutor; who in the office did it is the office's affair.
                 case when v_is_admin or l.actor_user_id in (s.tutor_user_id, s.student_user_id) then a.display_name end as by_name,
                 l.reason
            from public.credit_ledger l
            join public.sessions s on s.id = l.session_id
            join public.profiles t on t.id = s.tutor_user_id
            left join public.profiles a on a.id = l.actor_user_id
           where l.package_id = p_package_id) as line),
      'viewer_timezone', (select timezone from public.profiles where id = v_caller_id))
      from public.requests r join public.profiles u on u.id = r.student_user_id
     where r.id = v_package.request_id);
end;
$$;

create function public.get_statement(p_package_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_statement(p_package_id);
comment on function public.get_statement(uuid) is
  'Every credit of a package: which session, when, by whom, why, and what was left. For its student and admins. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.get_statement(uuid), public.get_statement(uuid) to authenticated;
