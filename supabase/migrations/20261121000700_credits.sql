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
-- A session is charged to its own package. Sessions of bookings touch no ledger.

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
comment on constraint credit_ledger_follows_predecessor on public.credit_ledger is 'No gaps: an entry refers to the one before it.';
comment on constraint credit_ledger_gives_back_what_it_took on public.credit_ledger is 'A credit goes back to the package it was taken from.';
create index credit_ledger_package on public.credit_ledger (package_id, session_id, entry_no);
create index credit_ledger_previous on public.credit_ledger (session_id, previous_entry_no);
create index credit_ledger_reverses on public.credit_ledger (session_id, reverses_entry_no, package_id);

create trigger credit_ledger_append_only before update or delete or truncate on public.credit_ledger
  for each statement execute function private.refuse_change(
    'The ledger is append-only: correct the session with tutor_update_session.');

create function private.refuse_exhausted(p_package_id uuid) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  select private.refuse(402, 'package_exhausted',
    'The package has no credit left. Raise its tier with update_package, sell another with create_package, or give a credit back by correcting a session.',
    jsonb_build_object('package_id', p_package_id))
$$;

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
      perform private.refuse_exhausted(v_move.package_id);
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
    where id in (select n.package_id from new_sessions n join old_sessions o using (id)
                  where private.consumes_credit(n.status) <> private.consumes_credit(o.status))
    order by id for update;
  if not found then
    return null;
  end if;
  insert into public.credit_ledger (session_id, entry_no, package_id, actor_user_id, actor_role, reason)
  select n.id, l.entries + 1, n.package_id, n.updated_by_user_id, n.updated_by_role, n.status_reason
    from new_sessions n
   cross join lateral (select count(*)::integer as entries from public.credit_ledger where session_id = n.id) l
   where n.package_id is not null and private.consumes_credit(n.status) <> (l.entries % 2 = 1);
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
