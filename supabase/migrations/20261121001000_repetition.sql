-- 10. Repetition
--
-- Networks repeat requests and people press buttons twice. `once` runs any writing function of the API so
-- that the same key is carried out one time: the first call leaves its answer in its own transaction, the
-- same call again gets that answer, another call under the same key is refused, and so is a twin that
-- arrives while the first still runs. Refusals are not kept: nothing happened. Keys are forgotten after a
-- day. `tutor_update_session` takes a key itself, for clients that call it directly.
--
-- Where a person could hurt the house by asking too often, `private.limit_calls` counts in the same
-- transaction and refuses with 429 and Retry-After. Clearing what is old is left to the outbox's chapter.

create table private.answers (
  caller_id uuid not null references public.profiles (id) on delete cascade,
  idempotency_key text not null,
  request_hash text not null,
  answer jsonb not null,
  created_at timestamptz not null default private.now(),
  primary key (caller_id, idempotency_key)
);
comment on table private.answers is 'The answers of calls that carried an idempotency key; kept for a day.';
comment on column private.answers.request_hash is 'Of what was asked: the same key may not ask for something else.';
alter table private.answers enable row level security;

create table private.call_counts (
  caller_id uuid not null references public.profiles (id) on delete cascade,
  action text not null,
  window_start timestamptz not null,
  calls integer not null default 1,
  primary key (caller_id, action, window_start)
);
comment on table private.call_counts is 'How often a person did something within a window of time.';
alter table private.call_counts enable row level security;

create function private.run_function(p_function text, p_arguments jsonb) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_function pg_catalog.pg_proc;
  v_named text;
  v_typed text;
  v_answer jsonb;
begin
  select * into v_function from pg_catalog.pg_proc
   where pronamespace = 'public'::regnamespace and proname = p_function
     and provolatile = 'v' and prorettype = 'jsonb'::regtype
     and proname <> all (array['once', 'rotate_calendar_token', 'create_progress_link'])  -- itself, and what is to be shown once
     and has_function_privilege('authenticated', oid, 'execute');  -- we run as the owner, who may call all of them
  if not found or jsonb_typeof(p_arguments) is distinct from 'object' or p_arguments ? 'p_idempotency_key'
     or exists (select from jsonb_object_keys(p_arguments) as name where name <> all (v_function.proargnames))
     or not p_arguments ?& v_function.proargnames[1:v_function.pronargs - v_function.pronargdefaults] then
    perform private.refuse(422, 'invalid', 'There is no writing function with that name and those arguments.',
                           jsonb_build_object('field', 'function'));
  end if;
  select string_agg(format('%I => given.%I', name, name), ', '),
         string_agg(format('%I %s', name, format_type(type, null)), ', ')
    into v_named, v_typed
    from unnest(v_function.proargnames, v_function.proargtypes::oid[]) as argument (name, type)
   where p_arguments ? name;
  if v_named is null then
    execute format('select public.%I()', p_function) into v_answer;
  else
    execute format('select public.%I(%s) from jsonb_to_record($1) as given (%s)', p_function, v_named, v_typed)
       into v_answer using p_arguments;
  end if;
  return v_answer;
end;
$$;
comment on function private.run_function(text, jsonb) is
  'Calls a writing function of the API with named arguments, as PostgREST would.';

create function private.once(p_idempotency_key text, p_request_hash text, p_function text, p_arguments jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_kept private.answers;
  v_answer jsonb;
begin
  if p_idempotency_key is null or char_length(p_idempotency_key) not between 1 and 255 or p_request_hash is null then
    perform private.refuse(422, 'invalid', 'An idempotency key has 1 to 255 characters.',
                           jsonb_build_object('field', 'Idempotency-Key'));
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended(v_caller_id::text || p_idempotency_key, 0)) then
    perform private.refuse(409, 'still_running', 'The same request is still being carried out; ask again shortly.',
                           jsonb_build_object('retry_after', 1));
  end if;
  select * into v_kept from private.answers
   where caller_id = v_caller_id and idempotency_key = p_idempotency_key
     and created_at > private.now() - interval '24 hours';
  if found then
    if v_kept.request_hash <> p_request_hash then
      perform private.refuse(422, 'key_reused', 'This idempotency key was used for another request.',
                             jsonb_build_object('field', 'Idempotency-Key'));
    end if;
    return v_kept.answer;
  end if;
  v_answer := private.run_function(p_function, p_arguments);
  insert into private.answers (caller_id, idempotency_key, request_hash, answer)
  values (v_caller_id, p_idempotency_key, p_request_hash, v_answer)
  on conflict (caller_id, idempotency_key) do update
    set request_hash = excluded.request_hash, answer = excluded.answer, created_at = excluded.created_at;
  return v_answer;
end;
$$;

create function public.once(p_idempotency_key text, p_request_hash text, p_function text, p_arguments jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.once(p_idempotency_key, p_request_hash, p_function, p_arguments);
comment on function public.once(text, text, text, jsonb) is
  'Carries out a writing function once for a key and a day, and answers the same again. Refuses as that function does, and: 401, 403 not_allowed, 409 still_running, 422 key_reused, invalid.';
grant execute on function private.once(text, text, text, jsonb), public.once(text, text, text, jsonb) to authenticated;

create function private.limit_calls(p_action text, p_most integer, p_within interval) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_window_start timestamptz := date_bin(p_within, private.now(), timestamptz '2000-01-01 00:00:00+00');
  v_calls integer;
begin
  insert into private.call_counts as c (caller_id, action, window_start)
  values (private.caller_id(), p_action, v_window_start)
  on conflict (caller_id, action, window_start) do update set calls = c.calls + 1
  returning calls into v_calls;
  if v_calls > p_most then
    perform private.refuse(429, 'too_many_requests', 'That is too often; wait a little.', jsonb_build_object(
      'retry_after', ceil(extract(epoch from v_window_start + p_within - private.now()))::integer));
  end if;
end;
$$;
comment on function private.limit_calls(text, integer, interval) is
  'Counts what the caller does within a window of time. Refuses: 429 too_many_requests, with the seconds to wait.';
