-- 1. Foundation
--
-- What every later chapter stands on: two schemas, nothing granted to anyone, one clock, one way to
-- refuse, and the two records that every change leaves behind.
--
--   public    what the Data API sees: tables under row-level security and thin invoker functions.
--   private   the functions that decide (security definer), the triggers, and what nobody may read.
--
-- A change is told twice, in its own transaction: `audit_logs` says to people who did what and why,
-- `private.outbox_events` says to machines what happened. Both are written by triggers on the changed
-- tables (`private.audit_change`, and the sessions chapter), so an edit in Studio leaves the same trace
-- as a call. Both are append-only. Delivering the outbox is left to a later chapter.

-- Extensions come first: the global revoke below would take their functions from everyone.
create schema if not exists extensions;
create extension if not exists btree_gist with schema extensions;
create extension if not exists vector with schema extensions;

create schema private;
comment on schema private is 'Decides: definer functions, triggers, records. Never exposed by the API.';

-- Default deny ---------------------------------------------------------------------------------------
-- Only the global form takes EXECUTE from PUBLIC; the schema form takes what older projects granted.

alter default privileges revoke execute on functions from public;
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke execute on functions from anon, authenticated, service_role;
revoke all on schema private from public;
grant usage on schema public to anon, authenticated, service_role;

-- The clock ------------------------------------------------------------------------------------------

create function private.now() returns timestamptz
language sql stable
set search_path = '' set timezone = 'UTC'
return pg_catalog.now();
comment on function private.now() is
  'The only reader of the time. Tests and the demo replace it by one that can be set.';

-- Refusing -------------------------------------------------------------------------------------------

create function private.refuse(p_status integer, p_code text, p_detail text, p_extra jsonb default null)
returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  raise exception using
    errcode = 'PT' || p_status,
    message = p_code,
    detail = p_detail,
    hint = coalesce(p_extra::text, '');
end;
$$;
comment on function private.refuse(integer, text, text, jsonb) is
  'Refuses: HTTP status, stable code, a sentence for people, and members for the problem document.';

create function private.refusal(p_status integer, p_code text, p_detail text, p_extra jsonb default null) returns jsonb
language sql immutable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object('status', p_status, 'code', p_code, 'detail', p_detail, 'extra', p_extra);
comment on function private.refusal(integer, text, text, jsonb) is
  'A refusal that is not uttered yet, for questions that are also asked without acting; null stands for none.';

create function private.refuse_if(p_refusal jsonb) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  if p_refusal is not null then
    perform private.refuse((p_refusal ->> 'status')::integer, p_refusal ->> 'code', p_refusal ->> 'detail',
                           nullif(p_refusal -> 'extra', 'null'));
  end if;
end;
$$;
comment on function private.refuse_if(jsonb) is 'Utters a refusal, where there is one.';

create function private.refuse_violation(p_constraint text) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.refuse(422, 'invalid', coalesce(
    (select obj_description(oid, 'pg_constraint') from pg_catalog.pg_constraint
      where conname = p_constraint and connamespace = 'public'::regnamespace),
    'A value is missing or not valid.'));
end;
$$;
comment on function private.refuse_violation(text) is
  'Refuses (422 invalid) what a check constraint refused, with the sentence that comments the constraint. For rules that only the stored row can decide; the embedded API would answer a bare 500.';

-- Words that several chapters check ------------------------------------------------------------------

create table private.timezones (
  name text primary key
);
comment on table private.timezones is
  'The time zones people may live in: IANA names of the geographic areas, and UTC. Postgres alone would also take abbreviations, POSIX rules and any letter case.';
insert into private.timezones
select name from pg_timezone_names
 where name ~ '^(UTC$|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)/)';
alter table private.timezones enable row level security;

create function private.is_timezone(p_name text) returns boolean
language sql stable strict security definer
set search_path = '' set timezone = 'UTC'
as $$
  select exists (select from private.timezones where name = p_name)
$$;
comment on function private.is_timezone(text) is 'Whether a name is a time zone people may live in.';

create type public.message_language as enum ('en', 'de', 'es');
comment on type public.message_language is 'The languages that messages and pages are written in.';

create function private.is_clock_time(p_time text) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$';
comment on function private.is_clock_time(text) is 'Whether a text is a time of the day, HH:MM, 00:00 to 23:59.';

create function private.is_line(p_text text, p_most integer) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_text = btrim(p_text) and char_length(p_text) between 1 and p_most and p_text !~ '[[:cntrl:]]';
comment on function private.is_line(text, integer) is
  'Whether a text is one trimmed line of 1 to p_most characters.';

create function private.is_e164(p_phone text) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_phone ~ '^\+[1-9][0-9]{6,14}$';

create function private.is_email(p_email text) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return p_email = lower(p_email) and char_length(p_email) <= 254 and p_email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+\.[^@[:space:][:cntrl:]]+$';

create function private.touch() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  new.updated_at := private.now();
  return new;
end;
$$;

create function private.refuse_change() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.refuse(409, 'use_function', tg_argv[0]);
  return null;
end;
$$;
comment on function private.refuse_change() is 'Trigger that refuses the statement with the sentence given to it.';

-- What opens something by being known ----------------------------------------------------------------

create function private.random_bytes() returns bytea
language sql volatile
set search_path = '' set timezone = 'UTC'
return uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
comment on function private.random_bytes() is '32 bytes with 244 random bits, from the same source as pgcrypto''s.';

create function private.new_token() returns text
language sql volatile
set search_path = '' set timezone = 'UTC'
return rtrim(translate(encode(private.random_bytes(), 'base64'), '+/', '-_'), '=');
comment on function private.new_token() is 'A secret of 43 letters that an address may hold; only its hash is kept.';

create function private.token_hash(p_token text) returns bytea
language sql immutable strict
set search_path = '' set timezone = 'UTC'
return sha256(convert_to(p_token, 'UTF8'));
comment on function private.token_hash(text) is
  'What is kept of a token. It is random enough that a hash without salt gives nothing away.';

-- What happened, for people --------------------------------------------------------------------------

create type public.actor_role as enum ('admin', 'tutor', 'student', 'guardian', 'clock', 'service', 'studio');
comment on type public.actor_role is
  'In which capacity a change was made: a person''s, a guardian''s who answered, the clock''s, the service key''s, or by hand in Studio.';

create table public.audit_logs (
  id bigint generated always as identity primary key,
  created_at timestamptz not null default private.now(),
  actor_user_id uuid,
  actor_role public.actor_role not null,
  action text not null,
  entity_type text not null,
  entity_id uuid,
  reason text,
  request_id text,
  details jsonb not null default '{}'
);
comment on table public.audit_logs is 'Who did what, when and why. Append-only; written by triggers alone.';
comment on column public.audit_logs.actor_user_id is 'The person (profiles.id); empty for guardians, the clock, the service key and Studio.';
comment on column public.audit_logs.actor_role is 'In which capacity they did it.';
comment on column public.audit_logs.entity_type is 'What kind of thing it was done to: session, package, person …';
comment on column public.audit_logs.entity_id is 'Its id, where it has one.';
comment on column public.audit_logs.details is 'What changed: {"column": {"from", "to"}}. Contact details are named, never copied.';
comment on column public.audit_logs.request_id is 'The X-Request-Id of the call, where the API passes headers on.';
create index audit_logs_entity on public.audit_logs (entity_type, entity_id, id);
create index audit_logs_actor on public.audit_logs (actor_user_id, id);

alter table public.audit_logs enable row level security;

create trigger audit_logs_append_only before update or delete or truncate on public.audit_logs
  for each statement execute function private.refuse_change('Audit rows are append-only.');

create function private.act_as(p_role public.actor_role) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  select set_config('lessonkeeper.acts_as', coalesce(p_role::text, ''), true)
$$;
comment on function private.act_as(public.actor_role) is
  'For the rest of the transaction, or until null: what is done is put down to this capacity. For guardians and the clock, who have no token of their own.';

create function private.actor_role() returns public.actor_role
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_acts_as text := nullif(current_setting('lessonkeeper.acts_as', true), '');
begin
  if v_acts_as is not null then
    return v_acts_as;
  end if;
  if auth.uid() is null then
    return case when auth.role() = 'service_role' then 'service' else 'studio' end;
  end if;
  return coalesce(
    (select r.role::text from public.user_roles r where r.profile_id = private.caller_id() order by r.role limit 1),
    'service'
  );
end;
$$;
comment on function private.actor_role() is
  'The capacity of whoever runs this statement, where no function has decided it: the caller''s first role.';

create function private.request_id() returns text
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return left(nullif(current_setting('request.headers', true), '')::json ->> 'x-request-id', 128);
exception when invalid_text_representation then
  return null;
end;
$$;

create function private.record_audit(
  p_action text, p_entity_type text, p_entity_id uuid, p_details jsonb default '{}', p_reason text default null
) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into public.audit_logs (actor_user_id, actor_role, action, entity_type, entity_id, reason, request_id, details)
  values (private.caller_id(), private.actor_role(), p_action, p_entity_type, p_entity_id, p_reason,
          private.request_id(), p_details);
end;
$$;
comment on function private.record_audit(text, text, uuid, jsonb, text) is
  'Writes one audit row for whoever runs this statement.';

create function private.audit_change() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_entity text := tg_argv[0];
  v_withheld text[] := coalesce(string_to_array(tg_argv[1], ','), '{}');
  v_old jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
  v_new jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
  v_changes jsonb;
begin
  select jsonb_object_agg(key, case
           when key = any (v_withheld) then jsonb_build_object('changed', true)
           else jsonb_build_object('from', v_old -> key, 'to', v_new -> key) end)
    into v_changes
    from jsonb_object_keys(v_old || v_new) as key
   where v_old -> key is distinct from v_new -> key
     and coalesce(v_old -> key, 'null') <> coalesce(v_new -> key, 'null')
     and key not in ('created_at', 'updated_at');
  if v_changes is not null then
    perform private.record_audit(
      v_entity || case tg_op when 'INSERT' then '_created' when 'UPDATE' then '_updated' else '_deleted' end,
      v_entity,
      coalesce(v_new ->> 'id', v_old ->> 'id', v_new ->> 'profile_id', v_old ->> 'profile_id')::uuid,
      v_changes);
  end if;
  return null;
end;
$$;
comment on function private.audit_change() is
  'Row trigger: one audit row naming what changed. Arguments: the entity''s word, and the columns (comma separated) whose values stay out.';

-- What happened, for machines ------------------------------------------------------------------------

create table private.event_types (
  name text primary key,
  schema_version integer not null default 1,
  description text not null,
  constraint event_types_have_two_words check (name ~ '^[a-z_]+\.[a-z_]+$'),
  constraint event_types_version_counts check (schema_version > 0)
);
comment on table private.event_types is
  'Every kind of event there is; each chapter enters those it writes.';
comment on column private.event_types.schema_version is
  'The shape of the payload that is written today; it grows when a consumer must look again.';
alter table private.event_types enable row level security;

create table private.event_counters (
  aggregate_type text not null,
  aggregate_id uuid not null,
  last_sequence integer not null,
  primary key (aggregate_type, aggregate_id)
);
comment on table private.event_counters is
  'How many events one session, match or booking has had; outlives the events, so that no number comes twice.';
alter table private.event_counters enable row level security;

create table private.outbox_events (
  id bigint generated always as identity primary key,
  event_type text not null references private.event_types (name),
  schema_version integer not null,
  aggregate_type text not null,
  aggregate_id uuid not null,
  aggregate_sequence integer not null,
  payload jsonb not null,
  occurred_at timestamptz not null,
  recorded_at timestamptz not null default private.now(),
  transaction_id xid8 not null default pg_current_xact_id(),
  constraint outbox_events_in_order unique (aggregate_type, aggregate_id, aggregate_sequence)
);
comment on table private.outbox_events is
  'What the outside world is to be told, written in the transaction of the change itself.';
comment on column private.outbox_events.aggregate_sequence is
  'Counts 1, 2, 3 … for one session, match or booking; its row is locked by whoever writes an event for it.';
comment on column private.outbox_events.transaction_id is
  'Lets a reader stop before the oldest running transaction, so that a late commit is never skipped.';
create index outbox_events_type on private.outbox_events (event_type);
create index outbox_events_committed on private.outbox_events (transaction_id, id);
create index outbox_events_age on private.outbox_events (recorded_at);

alter table private.outbox_events enable row level security;

create function private.record_event(
  p_event_type text, p_aggregate_type text, p_aggregate_id uuid, p_payload jsonb, p_occurred_at timestamptz
) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  -- A type that nobody has entered is left to the foreign key, which names it.
  v_schema_version integer := coalesce((select schema_version from private.event_types where name = p_event_type), 1);
  v_sequence integer;
begin
  insert into private.event_counters as c (aggregate_type, aggregate_id, last_sequence)
  values (p_aggregate_type, p_aggregate_id, 1)
  on conflict (aggregate_type, aggregate_id) do update set last_sequence = c.last_sequence + 1
  returning last_sequence into v_sequence;
  insert into private.outbox_events
    (event_type, schema_version, aggregate_type, aggregate_id, aggregate_sequence, payload, occurred_at)
  values (p_event_type, v_schema_version, p_aggregate_type, p_aggregate_id, v_sequence, p_payload, p_occurred_at);
end;
$$;
comment on function private.record_event(text, text, uuid, jsonb, timestamptz) is
  'Puts one event of a known type in the outbox. The caller holds the lock on the aggregate''s row.';
