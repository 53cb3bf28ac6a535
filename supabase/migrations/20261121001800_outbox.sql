-- 18. Outbox
--
-- How the world learns what happened. Every event is a row of `private.outbox_events`, written in the
-- transaction of the change itself; from there it goes three ways:
--
--   a reaction runs at once, in that transaction, behind a savepoint: when it fails, the action stands and
--     the failure is kept for repair (`private.reaction_failures`);
--   a subscription is told later: one row in `deliveries` for each, which a dispatcher leases
--     (`claim_deliveries`), sends, and reports (`settle_deliveries`); pending → delivered or dead, and back
--     to pending when an admin replays it. A dispatcher that never comes back loses its lease, and the same
--     message goes out again, under the same id and with the same bytes: at least once, never at most;
--   whoever wants to read along asks `list_events`, whose cursor never passes over a late commit.
--
-- `clean_up` forgets what is old. Who subscribes, and where its messages go, is the next chapter's.

create type public.delivery_status as enum ('pending', 'delivered', 'dead', 'cancelled');
comment on type public.delivery_status is
  'Where a delivery is: still to be sent, taken by the receiver, given up, or without a receiver any more.';

create type public.delivery_outcome as enum ('delivered', 'failed', 'refused', 'gone', 'lost');
comment on type public.delivery_outcome is
  'How an attempt ended: taken; not this time; never to that address; the receiver says it is gone; the dispatcher never came back.';

-- What is said about an event ------------------------------------------------------------------------

create function private.event_document(p_event private.outbox_events) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', 'evt_' || p_event.id, 'type', p_event.event_type, 'schema_version', p_event.schema_version,
  'aggregate', jsonb_build_object(
    'type', p_event.aggregate_type, 'id', p_event.aggregate_id, 'sequence', p_event.aggregate_sequence),
  'occurred_at', p_event.occurred_at, 'data', p_event.payload);
comment on function private.event_document(private.outbox_events) is
  'An event as it is sent and listed. Made of columns that never change, so that its text is the same each time.';

-- Reactions: in the transaction itself ---------------------------------------------------------------

create table private.reactions (
  name text primary key,
  event_types text[],
  function_name text not null,
  constraint reactions_have_a_function check (
    to_regprocedure(format('private.%I(private.outbox_events)', function_name)) is not null)
);
comment on table private.reactions is 'What the house itself does about an event, in the transaction that wrote it.';
comment on column private.reactions.event_types is 'The types it is for; empty means all.';
comment on column private.reactions.function_name is
  'A function in private that takes the event. By name: a column of type regprocedure would stop pg_upgrade.';
alter table private.reactions enable row level security;

create table private.reaction_failures (
  reaction text not null references private.reactions (name) on delete cascade,
  event_id bigint not null references private.outbox_events (id),
  failures integer not null default 1,
  failed_at timestamptz not null default private.now(),
  retry_at timestamptz not null default private.now() + interval '1 minute',
  sqlstate text not null,
  primary key (reaction, event_id)
);
comment on table private.reaction_failures is 'Reactions that could not be carried out, and when they are tried again.';
create index reaction_failures_event on private.reaction_failures (event_id);
create index reaction_failures_due on private.reaction_failures (retry_at);
alter table private.reaction_failures enable row level security;

create function private.run_reaction(p_reaction text, p_event private.outbox_events) returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_state text;
begin
  execute format('select private.%I($1)', (select function_name from private.reactions where name = p_reaction))
    using p_event;
  return true;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate;
  insert into private.reaction_failures as f (reaction, event_id, sqlstate)
  values (p_reaction, p_event.id, v_state)
  on conflict (reaction, event_id) do update
    set failures = f.failures + 1, failed_at = excluded.failed_at, sqlstate = excluded.sqlstate,
        retry_at = private.now() + least(interval '1 day', interval '1 minute' * power(2, least(f.failures, 11)));
  return false;
end;
$$;
comment on function private.run_reaction(text, private.outbox_events) is
  'Carries out one reaction, or undoes it and keeps the failure; false when it failed.';

create function private.run_reactions(p_event private.outbox_events) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_names text[];
  v_calls text;
begin
  select array_agg(name order by name), string_agg(format('private.%I($1)', function_name), ', ' order by name)
    into v_names, v_calls
    from private.reactions where event_types is null or p_event.event_type = any (event_types);
  if v_names is null then
    return;
  end if;
  begin
    -- One savepoint for all of them: a sweep writes thousands of events.
    execute 'select ' || v_calls using p_event;
  exception when others then
    perform private.run_reaction(name, p_event) from unnest(v_names) as name;
  end;
end;
$$;
comment on function private.run_reactions(private.outbox_events) is
  'Carries out every reaction to an event at once; when one fails, each by itself, so that it fails alone.';

create function private.repair_reactions(p_limit integer) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_failure record;
  v_tried integer := 0;
  v_repaired integer := 0;
begin
  for v_failure in
    with due as (
      select f.reaction, e as event
        from private.reaction_failures f join private.outbox_events e on e.id = f.event_id
       where f.retry_at <= private.now() order by f.retry_at, f.event_id, f.reaction limit p_limit for update of f skip locked
    )
    -- In the order in which everybody locks sessions: what refers to one locks it.
    select reaction, event from due order by (event).aggregate_id, (event).id, reaction
  loop
    v_tried := v_tried + 1;
    if private.run_reaction(v_failure.reaction, v_failure.event) then
      v_repaired := v_repaired + 1;
      delete from private.reaction_failures
       where reaction = v_failure.reaction and event_id = (v_failure.event).id;
    end if;
  end loop;
  return jsonb_build_object('repaired', v_repaired, 'failed', v_tried - v_repaired, 'more', v_tried >= p_limit);
end;
$$;
comment on function private.repair_reactions(integer) is 'Carries out again, oldest due first, what failed.';

-- Subscriptions and their deliveries -----------------------------------------------------------------

create table private.subscriptions (
  id uuid primary key default gen_random_uuid(),
  consumer text not null,
  event_types text[],
  is_enabled boolean not null default true,
  constraint subscriptions_have_a_consumer check (private.is_line(consumer, 60)),
  constraint subscriptions_are_for_something check (cardinality(event_types) > 0)
);
comment on table private.subscriptions is 'Who outside the database is told of which events.';
comment on column private.subscriptions.consumer is 'The kind of sender that carries its messages: webhook …';
comment on column private.subscriptions.event_types is 'The types it is for; empty means all.';
comment on column private.subscriptions.is_enabled is
  'While it is not, nothing new is put down for it and what is pending waits.';
create trigger subscriptions_audit after update on private.subscriptions
  for each row execute function private.audit_change('subscription');
alter table private.subscriptions enable row level security;

create table public.deliveries (
  id uuid primary key default gen_random_uuid(),
  subscription_id uuid not null references private.subscriptions (id),
  event_id bigint not null references private.outbox_events (id),
  status public.delivery_status not null default 'pending',
  attempts integer not null default 0,
  attempts_before_replay integer not null default 0,
  next_attempt_at timestamptz not null default private.now(),
  lease_id uuid,
  leased_until timestamptz,
  last_status_code integer,
  last_error text,
  delivered_at timestamptz,
  created_at timestamptz not null default private.now(),
  constraint deliveries_once unique (subscription_id, event_id),
  constraint deliveries_delivered_when check ((status = 'delivered') = (delivered_at is not null)),
  constraint deliveries_lease_has_an_end check (num_nonnulls(lease_id, leased_until) in (0, 2)),
  constraint deliveries_leased_while_pending check (lease_id is null or status = 'pending')
);
comment on table public.deliveries is 'One event for one subscription, from being written down to being taken or given up.';
comment on column public.deliveries.event_id is 'The event; its number is the message''s id, evt_<number>.';
comment on column public.deliveries.attempts is 'How often it was handed to a dispatcher.';
comment on column public.deliveries.attempts_before_replay is 'How many of the attempts were made before it was last replayed.';
comment on column public.deliveries.next_attempt_at is 'From when on a dispatcher may take it, while it is pending.';
comment on column public.deliveries.lease_id is 'Names the claim under which a dispatcher has it; a report under another one counts for nothing.';
comment on column public.deliveries.leased_until is 'Until when it is that dispatcher''s alone.';
comment on column public.deliveries.last_status_code is 'The HTTP status of the last answer, if there was one.';
comment on column public.deliveries.last_error is 'Why the last attempt failed.';
comment on column public.deliveries.delivered_at is 'When the receiver took it.';
create index deliveries_event on public.deliveries (event_id);
create index deliveries_due on public.deliveries (subscription_id, next_attempt_at, event_id) where status = 'pending';
create index deliveries_finished on public.deliveries (created_at) where status <> 'pending';

create table public.delivery_attempts (
  delivery_id uuid not null references public.deliveries (id) on delete cascade,
  attempt integer not null,
  attempted_at timestamptz not null default private.now(),
  duration_ms integer,
  outcome public.delivery_outcome not null,
  status_code integer,
  error text,
  primary key (delivery_id, attempt)
);
comment on table public.delivery_attempts is 'Every attempt to deliver, as it ended. Append-only; forgotten with its delivery.';
comment on column public.delivery_attempts.attempt is 'Counts 1, 2, 3 … for one delivery, replays included.';
comment on column public.delivery_attempts.attempted_at is 'When its end became known.';
comment on column public.delivery_attempts.duration_ms is 'How long sending took, in milliseconds.';
comment on column public.delivery_attempts.outcome is 'How it ended.';
comment on column public.delivery_attempts.status_code is 'The HTTP status of the answer, if there was one.';
comment on column public.delivery_attempts.error is 'Why it failed.';
create trigger delivery_attempts_append_only before update or truncate on public.delivery_attempts
  for each statement execute function private.refuse_change('Attempts are append-only.');

alter table public.deliveries enable row level security;
alter table public.delivery_attempts enable row level security;
grant select on public.deliveries, public.delivery_attempts to authenticated, service_role;
create policy "Admins read the deliveries" on public.deliveries
  for select to authenticated using ((select private.is_admin()));
create policy "Admins read the delivery attempts" on public.delivery_attempts
  for select to authenticated using ((select private.is_admin()));

create function private.spread_event() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.run_reactions(new);
  insert into public.deliveries (subscription_id, event_id)
  select s.id, new.id from private.subscriptions s
   where s.is_enabled and (s.event_types is null or new.event_type = any (s.event_types));
  return null;
end;
$$;
comment on function private.spread_event() is
  'Runs the reactions to a new event and puts down a delivery for each subscription, in the event''s own transaction.';
create trigger outbox_events_spread after insert on private.outbox_events
  for each row execute function private.spread_event();

-- Dispatching ----------------------------------------------------------------------------------------

create function private.retry_waits() returns interval[]
language sql immutable
set search_path = '' set timezone = 'UTC'
return array['5 seconds', '5 minutes', '30 minutes', '2 hours', '5 hours', '10 hours', '10 hours']::interval[];
comment on function private.retry_waits() is
  'How long is waited after the first, second … attempt that failed; after one more a delivery is dead.';

create function private.target_of(p_subscription private.subscriptions) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return case p_subscription.consumer
    when 'webhook' then private.webhook_target(p_subscription.id)
    else '{}' end;
end;
$$;
comment on function private.target_of(private.subscriptions) is
  'What the sender of that kind must know to reach it: for a webhook, the address and the secrets.';

create function private.claim_deliveries(p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_now timestamptz := private.now();
  v_lease_id uuid := gen_random_uuid();
  v_most integer := 1 + cardinality(private.retry_waits());
  v_ids uuid[];
begin
  if p_limit is null or p_limit not between 1 and 500 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 500.', jsonb_build_object('field', 'limit'));
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 5 and 3600 then
    perform private.refuse(422, 'invalid', 'lease_seconds must be 5 to 3600.', jsonb_build_object('field', 'lease_seconds'));
  end if;
  -- Each subscription's own end of the index, so that what waits for a disabled one is never walked over; and by turns,
  -- so that the backlog of one that hangs leaves room for the others.
  select array_agg(id) into v_ids from (
    select due.id
      from private.subscriptions s
     cross join lateral (
       select d.id, d.next_attempt_at, d.event_id from public.deliveries d
        where d.subscription_id = s.id and d.status = 'pending' and d.next_attempt_at <= v_now
          and (d.leased_until is null or d.leased_until <= v_now)
        order by d.next_attempt_at, d.event_id limit p_limit for update skip locked) as due
     where s.is_enabled
     order by row_number() over (partition by s.id order by due.next_attempt_at, due.event_id), due.next_attempt_at, due.event_id, due.id
     limit p_limit) as taken;
  insert into public.delivery_attempts (delivery_id, attempt, outcome, error)
  select id, attempts, 'lost', 'The dispatcher did not come back.'
    from public.deliveries where id = any (v_ids) and lease_id is not null;
  update public.deliveries
     set status = 'dead', lease_id = null, leased_until = null, last_error = 'The dispatcher did not come back.'
   where id = any (v_ids) and attempts - attempts_before_replay >= v_most;
  update public.deliveries
     set attempts = attempts + 1, lease_id = v_lease_id, leased_until = v_now + make_interval(secs => p_lease_seconds)
   where id = any (v_ids) and status = 'pending';
  return jsonb_build_object(
    'deliveries', (
      select coalesce(jsonb_agg(private.target_of(s) || jsonb_build_object(
               'delivery_id', d.id, 'lease_id', d.lease_id, 'consumer', s.consumer, 'attempt', d.attempts,
               'message_id', 'evt_' || e.id, 'event_type', e.event_type,
               'body', private.event_document(e)::text) order by d.next_attempt_at, d.event_id, d.id), '[]')
        from public.deliveries d
        join private.subscriptions s on s.id = d.subscription_id
        join private.outbox_events e on e.id = d.event_id
       where d.id = any (v_ids) and d.status = 'pending'),
    'more', coalesce(cardinality(v_ids), 0) >= p_limit);
end;
$$;

create function public.claim_deliveries(p_limit integer default 50, p_lease_seconds integer default 60) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.claim_deliveries(p_limit, p_lease_seconds);
comment on function public.claim_deliveries(integer, integer) is
  'A dispatcher leases what is due, each subscription''s oldest in turn, passing over what others have; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.claim_deliveries(integer, integer), public.claim_deliveries(integer, integer) to service_role;

create type private.delivery_result as (
  delivery_id uuid, lease_id uuid, outcome public.delivery_outcome,
  status_code integer, error text, duration_ms integer, retry_after_seconds integer);

create function private.settle_delivery(p_result private.delivery_result) returns text
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_delivery public.deliveries;
  v_wait interval;
begin
  select * into v_delivery from public.deliveries
   where id = p_result.delivery_id and lease_id = p_result.lease_id for update;
  if not found then
    return 'stale';
  end if;
  insert into public.delivery_attempts (delivery_id, attempt, duration_ms, outcome, status_code, error)
  values (v_delivery.id, v_delivery.attempts, p_result.duration_ms, p_result.outcome, p_result.status_code,
          left(p_result.error, 500));
  v_wait := (private.retry_waits())[v_delivery.attempts - v_delivery.attempts_before_replay] * (0.8 + 0.4 * random());
  if v_wait is not null then
    v_wait := least(greatest(v_wait, make_interval(secs => p_result.retry_after_seconds)), interval '1 day');
  end if;
  v_delivery.status := case
    when p_result.outcome = 'delivered' then 'delivered'
    when p_result.outcome = 'failed' and v_wait is not null then 'pending'
    else 'dead' end;
  update public.deliveries
     set status = v_delivery.status, lease_id = null, leased_until = null,
         next_attempt_at = case when v_delivery.status = 'pending' then private.now() + v_wait else next_attempt_at end,
         delivered_at = case when v_delivery.status = 'delivered' then private.now() end,
         last_status_code = p_result.status_code, last_error = left(p_result.error, 500)
   where id = v_delivery.id;
  return case v_delivery.status when 'pending' then 'retrying' else v_delivery.status::text end;
end;
$$;
comment on function private.settle_delivery(private.delivery_result) is
  'Writes down how one attempt ended and what follows: delivered, retrying, dead, or stale when the lease is another''s.';

create function private.settle_deliveries(p_results jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_results private.delivery_result[];
  v_counts jsonb;
begin
  if jsonb_typeof(p_results) = 'array' then
    select array_agg(r order by r.delivery_id) into v_results
      from jsonb_populate_recordset(null::private.delivery_result, p_results) as r;
  end if;
  if jsonb_typeof(p_results) is distinct from 'array'
     or exists (select from unnest(v_results) r where r.outcome is null or r.outcome = 'lost') then
    perform private.refuse(422, 'invalid', 'Every result needs an outcome: delivered, failed, refused or gone.',
                           jsonb_build_object('field', 'results'));
  end if;
  -- Whoever changes a subscription holds it before its deliveries; so do we, for an outcome may disable it.
  perform from private.subscriptions
    where id in (select d.subscription_id from unnest(v_results) r join public.deliveries d on d.id = r.delivery_id)
    order by id for no key update;
  select jsonb_build_object(
           'delivered', count(*) filter (where told = 'delivered'), 'retrying', count(*) filter (where told = 'retrying'),
           'dead', count(*) filter (where told = 'dead'), 'stale', count(*) filter (where told = 'stale'))
    into v_counts
    from (select private.settle_delivery(r) as told from unnest(v_results) r) as settled;
  return v_counts;
end;
$$;

create function public.settle_deliveries(p_results jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.settle_deliveries(p_results);
comment on function public.settle_deliveries(jsonb) is
  'A dispatcher reports how its leased deliveries ended: [{"delivery_id", "lease_id", "outcome", "status_code", "error", "duration_ms", "retry_after_seconds"}]. A report under a lease that is another''s by now changes nothing. For the service key alone. Refuses: 422 invalid.';
grant execute on function private.settle_deliveries(jsonb), public.settle_deliveries(jsonb) to service_role;

-- Reading along --------------------------------------------------------------------------------------

create function private.list_events(p_after text, p_limit integer) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 100);
  v_page private.outbox_events[];
  v_last private.outbox_events;
begin
  perform private.require_admin();
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  if p_after !~ '^[0-9]{1,18}\.[0-9]{1,18}$' then
    perform private.refuse(422, 'invalid', 'after must be a cursor from an earlier answer.', jsonb_build_object('field', 'after'));
  end if;
  -- A transaction that still runs may yet commit before anything that began after it.
  select array_agg(e order by e.transaction_id, e.id) into v_page from (
    select * from private.outbox_events
     where transaction_id < pg_snapshot_xmin(pg_current_snapshot())
       and (transaction_id, id) > (split_part(coalesce(p_after, '0.0'), '.', 1)::xid8,
                                   split_part(coalesce(p_after, '0.0'), '.', 2)::bigint)
     order by transaction_id, id limit v_limit + 1) as e;
  v_last := v_page[least(v_limit, cardinality(v_page))];
  return jsonb_build_object(
    'events', (select coalesce(jsonb_agg(private.event_document(e) order by e.transaction_id, e.id), '[]')
                 from unnest(v_page[1:v_limit]) as e),
    'next', coalesce(v_last.transaction_id || '.' || v_last.id, p_after),
    'has_more', coalesce(cardinality(v_page), 0) > v_limit);
end;
$$;

create function public.list_events(p_after text default null, p_limit integer default 100) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_events(p_after, p_limit);
comment on function public.list_events(text, integer) is
  'Admins read the events in the order in which their transactions began, a page at a time; "next" is the cursor to go on from, now or later. What a running transaction may still precede is not shown yet. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function private.list_events(text, integer), public.list_events(text, integer) to authenticated;

-- What became of a delivery --------------------------------------------------------------------------

create function private.delivery_document(p_delivery public.deliveries) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'id', p_delivery.id, 'endpoint_id', p_delivery.subscription_id,
    'event_id', 'evt_' || e.id, 'event_type', e.event_type,
    'status', p_delivery.status, 'attempts', p_delivery.attempts,
    'next_attempt_at', case when p_delivery.status = 'pending' then p_delivery.next_attempt_at end,
    'last_status_code', p_delivery.last_status_code, 'last_error', p_delivery.last_error,
    'delivered_at', p_delivery.delivered_at, 'created_at', p_delivery.created_at)
    from private.outbox_events e where e.id = p_delivery.event_id
$$;

create function private.get_delivery(p_delivery_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_delivery public.deliveries;
begin
  perform private.require_admin();
  select * into v_delivery from public.deliveries where id = p_delivery_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such delivery.');
  end if;
  return private.delivery_document(v_delivery) || jsonb_build_object(
    'event', (select private.event_document(e) from private.outbox_events e where e.id = v_delivery.event_id),
    'log', (select coalesce(jsonb_agg(to_jsonb(a) - 'delivery_id' order by a.attempt), '[]')
              from public.delivery_attempts a where a.delivery_id = p_delivery_id));
end;
$$;

create function public.get_delivery(p_delivery_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_delivery(p_delivery_id);
comment on function public.get_delivery(uuid) is
  'Admins see one delivery, its event, and the log of its attempts. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.get_delivery(uuid), public.get_delivery(uuid) to authenticated;

-- Forgetting -----------------------------------------------------------------------------------------

create function private.clean_up(p_limit integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_day_ago timestamptz := private.now() - interval '1 day';
  v_kept_since timestamptz := private.now() - (select make_interval(days => events_kept_days) from public.settings);
  v_counts jsonb;
  v_count integer;
begin
  if p_limit is null or p_limit not between 1 and 5000 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 5000.', jsonb_build_object('field', 'limit'));
  end if;
  -- First of all: a reaction may lock what comes before the outbox.
  v_counts := private.repair_reactions(p_limit);

  -- The old ones are picked first, or a plan might pick anew for every row and pass the limit.
  with old as materialized (
    select id from public.deliveries where status <> 'pending' and created_at < v_kept_since
     order by created_at limit p_limit for update skip locked)
  delete from public.deliveries d using old where d.id = old.id;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('deliveries', v_count);

  with old as materialized (
    select e.id from private.outbox_events e
     where e.recorded_at < v_kept_since
       and not exists (select from public.deliveries d where d.event_id = e.id)
       and not exists (select from private.reaction_failures f where f.event_id = e.id)
     order by e.recorded_at limit p_limit for update skip locked)
  delete from private.outbox_events e using old where e.id = old.id;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('events', v_count);

  v_counts := v_counts || private.forget_messages(v_kept_since, p_limit);

  with old as materialized (
    select caller_id, idempotency_key from private.answers
     where created_at < v_day_ago limit p_limit for update skip locked)
  delete from private.answers a using old
   where (a.caller_id, a.idempotency_key) = (old.caller_id, old.idempotency_key);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('answers', v_count);

  with old as materialized (
    select caller_id, action, window_start from private.call_counts
     where window_start < v_day_ago limit p_limit for update skip locked)
  delete from private.call_counts c using old
   where (c.caller_id, c.action, c.window_start) = (old.caller_id, old.action, old.window_start);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('call_counts', v_count);

  with old as materialized (
    select profile_id from private.refreshes where refreshed_at < v_day_ago limit p_limit for update skip locked)
  delete from private.refreshes r using old where r.profile_id = old.profile_id;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('refreshes', v_count);

  with old as materialized (
    select token_hash from private.consent_tokens
     where created_at < private.consent_tokens_good_since() limit p_limit for update skip locked)
  delete from private.consent_tokens t using old where t.token_hash = old.token_hash;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('consent_tokens', v_count);

  with old as materialized (
    select provider, provider_event_id from private.provider_events
     where seen_at < private.now() - interval '30 days' limit p_limit for update skip locked)
  delete from private.provider_events e using old
   where (e.provider, e.provider_event_id) = (old.provider, old.provider_event_id);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('provider_events', v_count);

  return v_counts || jsonb_build_object('more', (v_counts ->> 'more')::boolean or exists (
    select from jsonb_each_text(v_counts - 'more') as c where c.value::integer >= p_limit));
end;
$$;

create function public.clean_up(p_limit integer default 1000) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.clean_up(p_limit);
comment on function public.clean_up(integer) is
  'The scheduler repairs reactions and has the house forget what is old; ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function private.clean_up(integer), public.clean_up(integer) to service_role;
