-- A clock that can be set, for tests and the demo. Never part of the migrations: on a real project
-- private.now() is now() and nothing else, and /api/health tells admins when it is not.

create table private.clock (
  only_row boolean primary key default true check (only_row),
  reads timestamptz
);
comment on table private.clock is 'The instant private.now() answers; empty means the real time.';
insert into private.clock default values;

create or replace function private.now() returns timestamptz
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce((select reads from private.clock), pg_catalog.now())
$$;

create function private.set_clock(p_reads timestamptz) returns void
language sql
set search_path = '' set timezone = 'UTC'
as $$
  update private.clock set reads = p_reads
$$;
comment on function private.set_clock(timestamptz) is 'Sets the clock; null lets it run again.';
