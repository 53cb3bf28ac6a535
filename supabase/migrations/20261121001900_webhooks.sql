-- 19. Webhooks
--
-- The business's own systems as receivers of the outbox. An admin enters an address and the types of event it
-- wants (`create_webhook_endpoint`); that is a subscription of the chapter before, with an address and secrets.
-- Every message is signed with the endpoint's secret, which is shown once. `rotate_webhook_secret` makes another
-- one and leaves the old one valid for a day: until then each message carries both signatures.
--
-- An endpoint that answers 410, or has failed for five days without one success, is disabled by the house;
-- what is pending waits until an admin enables it. A deleted endpoint stays as a line in the log of its
-- deliveries, without its secrets. Which addresses are allowed is decided where the connection is made, in
-- Python, each time; here an address only has to be one.

create table public.webhook_endpoints (
  id uuid primary key references private.subscriptions (id),
  url text not null,
  description text,
  disabled_reason text,
  failing_since timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint webhook_endpoints_url_is_one check (
    private.is_line(url, 2000)
    and url ~ '^https?://(\[[0-9a-fA-F:.]+\](:[0-9]+)?|[^][/?#@\\[:space:]]+)([/?#][^[:space:]]*)?$'),
  constraint webhook_endpoints_description_is_a_line check (private.is_line(description, 200)),
  constraint webhook_endpoints_disabled_for_a_reason check (disabled_reason in ('by_admin', 'gone', 'failing'))
);
comment on table public.webhook_endpoints is 'Addresses of the business''s own systems to which events are sent.';
comment on column public.webhook_endpoints.id is 'The subscription behind it, which knows its event types and whether it is enabled.';
comment on column public.webhook_endpoints.url is 'Where messages are posted to.';
comment on column public.webhook_endpoints.description is 'What it is, in the words of the admin.';
comment on column public.webhook_endpoints.disabled_reason is
  'Why nothing is sent: an admin said so (by_admin), it answered 410 (gone), it failed for five days (failing); empty while it is enabled.';
comment on column public.webhook_endpoints.failing_since is 'The first failure since its last success.';
comment on column public.webhook_endpoints.deleted_at is 'From then on it is part of the log alone.';
comment on constraint webhook_endpoints_url_is_one on public.webhook_endpoints is
  'An address begins with https:// or http://, carries no user name or password, and has at most 2000 characters.';
comment on constraint webhook_endpoints_description_is_a_line on public.webhook_endpoints is
  'A description is one line of at most 200 characters.';
create trigger webhook_endpoints_touch before update on public.webhook_endpoints
  for each row execute function private.touch();
create trigger webhook_endpoints_audit after insert or update of url, description, disabled_reason, deleted_at
  on public.webhook_endpoints for each row execute function private.audit_change('webhook_endpoint');
create trigger webhook_endpoints_stay before delete or truncate on public.webhook_endpoints
  for each statement execute function private.refuse_change('Delete an endpoint with delete_webhook_endpoint.');

create table private.webhook_secrets (
  id bigint generated always as identity primary key,
  endpoint_id uuid not null references public.webhook_endpoints (id),
  secret text not null,
  valid_until timestamptz,
  constraint webhook_secrets_are_standard check (secret ~ '^whsec_[A-Za-z0-9+/]{32,}={0,2}$')
);
comment on table private.webhook_secrets is 'What messages are signed with; one for each endpoint, and those it replaced less than a day ago.';
comment on column private.webhook_secrets.valid_until is 'When a replaced one stops being used; empty for the present one.';
create index webhook_secrets_endpoint on private.webhook_secrets (endpoint_id);
create unique index webhook_secrets_one_present on private.webhook_secrets (endpoint_id) where valid_until is null;

alter table public.webhook_endpoints enable row level security;
alter table private.webhook_secrets enable row level security;
grant select on public.webhook_endpoints to authenticated, service_role;
create policy "Admins read the webhook endpoints" on public.webhook_endpoints
  for select to authenticated using ((select private.is_admin()));

-- For the dispatcher ---------------------------------------------------------------------------------

create function private.webhook_target(p_endpoint_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'url', (select url from public.webhook_endpoints where id = p_endpoint_id),
  'secrets', (select coalesce(jsonb_agg(secret order by id desc), '[]') from private.webhook_secrets
               where endpoint_id = p_endpoint_id and (valid_until is null or valid_until > private.now())));
comment on function private.webhook_target(uuid) is 'Where an endpoint''s messages go and what they are signed with, the present secret first.';

create function private.disable_webhook_endpoint(p_endpoint_id uuid, p_reason text) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  update private.subscriptions set is_enabled = false where id = p_endpoint_id and is_enabled;
  if found then
    update public.webhook_endpoints set disabled_reason = p_reason where id = p_endpoint_id;
  end if;
end;
$$;

create function private.note_webhook_health() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_endpoint_id uuid := (select subscription_id from public.deliveries where id = new.delivery_id);
begin
  if new.outcome = 'delivered' then
    update public.webhook_endpoints set failing_since = null where id = v_endpoint_id and failing_since is not null;
    return null;
  end if;
  update public.webhook_endpoints set failing_since = new.attempted_at where id = v_endpoint_id and failing_since is null;
  if new.outcome = 'gone' then
    perform private.disable_webhook_endpoint(v_endpoint_id, 'gone');
  elsif exists (select from public.webhook_endpoints
                 where id = v_endpoint_id and failing_since <= new.attempted_at - interval '5 days') then
    perform private.disable_webhook_endpoint(v_endpoint_id, 'failing');
  end if;
  return null;
end;
$$;
comment on function private.note_webhook_health() is
  'Remembers since when an endpoint fails, and disables it when it is gone or has failed for five days. The settler holds its subscription.';
create trigger delivery_attempts_note_webhook_health after insert on public.delivery_attempts
  for each row when (new.outcome <> 'lost') execute function private.note_webhook_health();

-- For admins -----------------------------------------------------------------------------------------

insert into private.shown_once (function_name, member) values
  ('create_webhook_endpoint', 'secret'), ('rotate_webhook_secret', 'secret');

create function private.endpoint_document(p_endpoint_id uuid) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'id', w.id, 'url', w.url, 'description', w.description, 'event_types', s.event_types,
    'is_enabled', s.is_enabled, 'disabled_reason', w.disabled_reason, 'failing_since', w.failing_since,
    'created_at', w.created_at, 'updated_at', w.updated_at)
    from public.webhook_endpoints w join private.subscriptions s using (id)
   where w.id = p_endpoint_id
$$;
comment on function private.endpoint_document(uuid) is 'An endpoint as admins see it; event_types is null when it is told everything.';

create function private.known_event_types(p_event_types text[]) returns text[]
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_unknown text[] := array(
    select distinct coalesce(asked.name, '') from unnest(p_event_types) as asked (name)
     where not exists (select from private.event_types t where t.name = asked.name) order by 1);
begin
  if v_unknown <> '{}' then
    perform private.refuse(422, 'invalid', 'There are no such event types.',
                           jsonb_build_object('field', 'event_types', 'unknown', to_jsonb(v_unknown)));
  end if;
  return nullif(array(select distinct name from unnest(p_event_types) as name order by 1), '{}');
end;
$$;
comment on function private.known_event_types(text[]) is
  'The types of a filter, each once; null for an empty one, which means all. Refuses: 422 invalid.';

create function private.lock_endpoint(p_endpoint_id uuid) returns void
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform from private.subscriptions where id = p_endpoint_id for no key update;
  perform from public.webhook_endpoints where id = p_endpoint_id and deleted_at is null for no key update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such webhook endpoint.');
  end if;
end;
$$;
comment on function private.lock_endpoint(uuid) is
  'Takes an endpoint, its subscription first as everybody does. Refuses: 404.';

create function private.add_webhook_secret(p_endpoint_id uuid) returns jsonb
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_secret text := 'whsec_' || encode(private.random_bytes(), 'base64');
begin
  insert into private.webhook_secrets (endpoint_id, secret) values (p_endpoint_id, v_secret);
  return jsonb_build_object('secret', v_secret);
end;
$$;
comment on function private.add_webhook_secret(uuid) is 'Makes the endpoint''s present secret, in the form of Standard Webhooks.';

create function private.create_webhook_endpoint(p_url text, p_description text, p_event_types text[]) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_id uuid;
  v_violated text;
begin
  perform private.require_admin();
  insert into private.subscriptions (consumer, event_types)
  values ('webhook', private.known_event_types(p_event_types)) returning id into v_id;
  insert into public.webhook_endpoints (id, url, description) values (v_id, p_url, nullif(p_description, ''));
  return private.endpoint_document(v_id) || private.add_webhook_secret(v_id);
exception
  when check_violation or not_null_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform private.refuse_violation(v_violated);
end;
$$;

create function public.create_webhook_endpoint(
  p_url text, p_description text default null, p_event_types text[] default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_webhook_endpoint(p_url, p_description, p_event_types);
comment on function public.create_webhook_endpoint(text, text, text[]) is
  'Admins enter an address that is told of events, of some types or of all; the answer shows its secret, once. Refuses: 401, 403 not_allowed, 422 invalid.';
grant execute on function
  private.create_webhook_endpoint(text, text, text[]), public.create_webhook_endpoint(text, text, text[]) to authenticated;

create function private.update_webhook_endpoint(
  p_endpoint_id uuid, p_url text, p_description text, p_event_types text[], p_is_enabled boolean
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_violated text;
begin
  perform private.require_admin();
  perform private.lock_endpoint(p_endpoint_id);
  if p_is_enabled then
    update private.subscriptions set is_enabled = true where id = p_endpoint_id and not is_enabled;
    if found then
      update public.webhook_endpoints set disabled_reason = null, failing_since = null where id = p_endpoint_id;
    end if;
  elsif not p_is_enabled then
    perform private.disable_webhook_endpoint(p_endpoint_id, 'by_admin');
  end if;
  if p_event_types is not null then
    update private.subscriptions set event_types = private.known_event_types(p_event_types) where id = p_endpoint_id;
  end if;
  update public.webhook_endpoints
     set url = coalesce(p_url, url),
         description = case when p_description is null then description else nullif(p_description, '') end
   where id = p_endpoint_id;
  return private.endpoint_document(p_endpoint_id);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.update_webhook_endpoint(
  p_endpoint_id uuid, p_url text default null, p_description text default null, p_event_types text[] default null,
  p_is_enabled boolean default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_webhook_endpoint(p_endpoint_id, p_url, p_description, p_event_types, p_is_enabled);
comment on function public.update_webhook_endpoint(uuid, text, text, text[], boolean) is
  'Admins change an endpoint; what is left out stays, an empty description or an empty list of types clears it. Enabling sends what has waited. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.update_webhook_endpoint(uuid, text, text, text[], boolean),
  public.update_webhook_endpoint(uuid, text, text, text[], boolean) to authenticated;

create function private.delete_webhook_endpoint(p_endpoint_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  perform private.lock_endpoint(p_endpoint_id);
  update private.subscriptions set is_enabled = false where id = p_endpoint_id;
  update public.webhook_endpoints set deleted_at = private.now() where id = p_endpoint_id;
  delete from private.webhook_secrets where endpoint_id = p_endpoint_id;
  perform from public.deliveries where subscription_id = p_endpoint_id and status = 'pending' order by id for update;
  update public.deliveries set status = 'cancelled', lease_id = null, leased_until = null
   where subscription_id = p_endpoint_id and status = 'pending';
  return private.endpoint_document(p_endpoint_id);
end;
$$;

create function public.delete_webhook_endpoint(p_endpoint_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.delete_webhook_endpoint(p_endpoint_id);
comment on function public.delete_webhook_endpoint(uuid) is
  'Admins delete an endpoint: its secrets go, what was pending for it is cancelled, the log stays. Refuses: 401, 403 not_allowed, 404.';
grant execute on function
  private.delete_webhook_endpoint(uuid), public.delete_webhook_endpoint(uuid) to authenticated;

create function private.rotate_webhook_secret(p_endpoint_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_previous_until timestamptz := private.now() + interval '24 hours';
begin
  perform private.require_admin();
  perform private.lock_endpoint(p_endpoint_id);
  delete from private.webhook_secrets where endpoint_id = p_endpoint_id and valid_until <= private.now();
  update private.webhook_secrets set valid_until = v_previous_until where endpoint_id = p_endpoint_id and valid_until is null;
  perform private.record_audit('webhook_secret_rotated', 'webhook_endpoint', p_endpoint_id);
  return private.endpoint_document(p_endpoint_id) || private.add_webhook_secret(p_endpoint_id)
    || jsonb_build_object('previous_valid_until', v_previous_until);
end;
$$;

create function public.rotate_webhook_secret(p_endpoint_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.rotate_webhook_secret(p_endpoint_id);
comment on function public.rotate_webhook_secret(uuid) is
  'Admins give an endpoint a new secret, shown once; the one before signs beside it for 24 hours. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.rotate_webhook_secret(uuid), public.rotate_webhook_secret(uuid) to authenticated;

create function private.list_webhook_endpoints() returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  return jsonb_build_object(
    'endpoints', (select coalesce(jsonb_agg(private.endpoint_document(w.id) order by w.created_at, w.id), '[]')
                    from public.webhook_endpoints w where w.deleted_at is null),
    'event_types', (select jsonb_agg(to_jsonb(t) order by t.name) from private.event_types t));
end;
$$;

create function public.list_webhook_endpoints() returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_webhook_endpoints();
comment on function public.list_webhook_endpoints() is
  'Admins see the endpoints, without their secrets, and the types of event there are. Refuses: 401, 403 not_allowed.';
grant execute on function private.list_webhook_endpoints(), public.list_webhook_endpoints() to authenticated;

create function private.list_deliveries(
  p_endpoint_id uuid, p_status public.delivery_status, p_after text, p_limit integer
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 50);
  v_page public.deliveries[];
begin
  perform private.require_admin();
  perform from public.webhook_endpoints where id = p_endpoint_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such webhook endpoint.');
  end if;
  if v_limit not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  if p_after !~ '^evt_[0-9]{1,18}$' then
    perform private.refuse(422, 'invalid', 'after must be a cursor from an earlier answer.', jsonb_build_object('field', 'after'));
  end if;
  select array_agg(d order by d.event_id desc) into v_page from (
    select * from public.deliveries
     where subscription_id = p_endpoint_id and (p_status is null or status = p_status)
       and (p_after is null or event_id < substr(p_after, 5)::bigint)
     order by event_id desc limit v_limit + 1) as d;
  return jsonb_build_object(
    'deliveries', (select coalesce(jsonb_agg(private.delivery_document(d) order by d.event_id desc), '[]')
                     from unnest(v_page[1:v_limit]) as d),
    'next', case when cardinality(v_page) > v_limit then 'evt_' || v_page[v_limit].event_id end,
    'has_more', coalesce(cardinality(v_page), 0) > v_limit);
end;
$$;

create function public.list_deliveries(
  p_endpoint_id uuid, p_status public.delivery_status default null, p_after text default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_deliveries(p_endpoint_id, p_status, p_after, p_limit);
comment on function public.list_deliveries(uuid, public.delivery_status, text, integer) is
  'Admins see what was sent to an endpoint (a deleted one too), the newest event first, a page at a time. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.list_deliveries(uuid, public.delivery_status, text, integer),
  public.list_deliveries(uuid, public.delivery_status, text, integer) to authenticated;

create function private.replay_delivery(p_delivery_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_delivery public.deliveries;
begin
  perform private.require_admin();
  perform from private.subscriptions
    where id = (select subscription_id from public.deliveries where id = p_delivery_id) for no key update;
  select * into v_delivery from public.deliveries where id = p_delivery_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such delivery.');
  end if;
  if v_delivery.status = 'pending' or exists (
       select from public.webhook_endpoints where id = v_delivery.subscription_id and deleted_at is not null) then
    perform private.refuse(409, 'illegal_transition', case v_delivery.status
      when 'pending' then 'It is still being delivered.' else 'Its receiver was deleted.' end,
      jsonb_build_object('from', v_delivery.status, 'to', 'pending'));
  end if;
  update public.deliveries
     set status = 'pending', attempts_before_replay = attempts, next_attempt_at = private.now(), delivered_at = null
   where id = p_delivery_id returning * into v_delivery;
  perform private.record_audit('delivery_replayed', 'delivery', p_delivery_id);
  return private.delivery_document(v_delivery);
end;
$$;

create function public.replay_delivery(p_delivery_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.replay_delivery(p_delivery_id);
comment on function public.replay_delivery(uuid) is
  'Admins have a finished delivery sent again, with the same id and bytes; the log is kept. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition.';
grant execute on function private.replay_delivery(uuid), public.replay_delivery(uuid) to authenticated;
