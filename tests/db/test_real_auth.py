"""The seed on the tables of a hosted Supabase Auth, which has columns and rules that the embedded stack's has not.

Source: the migrations of https://github.com/supabase/auth; what it does with a row is noted where it matters.
"""

from collections.abc import Iterator

import psycopg
import pytest

from scripts.stack import SEEDED
from scripts.stack.processes import run
from scripts.stack.state import CHECKOUT
from tests.database import Database
from tests.house import EVERYBODY

SEED = (CHECKOUT / "supabase" / "seed.sql").read_text(encoding="utf-8")

HOSTED = """
create schema lite;
alter table auth.users set schema lite;
alter table auth.identities set schema lite;

create table auth.users (
  instance_id uuid null,
  id uuid not null primary key,
  aud varchar(255) null,
  role varchar(255) null,
  email varchar(255) null,
  encrypted_password varchar(255) null,
  email_confirmed_at timestamptz null,
  invited_at timestamptz null,
  confirmation_token varchar(255) null,
  confirmation_sent_at timestamptz null,
  recovery_token varchar(255) null,
  recovery_sent_at timestamptz null,
  email_change_token_new varchar(255) null,
  email_change varchar(255) null,
  email_change_sent_at timestamptz null,
  last_sign_in_at timestamptz null,
  raw_app_meta_data jsonb null,
  raw_user_meta_data jsonb null,
  is_super_admin bool null,
  created_at timestamptz null,
  updated_at timestamptz null,
  phone text null unique default null,
  phone_confirmed_at timestamptz null,
  phone_change text null default '',
  phone_change_token varchar(255) null default '',
  phone_change_sent_at timestamptz null,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) null default '',
  email_change_confirm_status smallint null default 0 check (email_change_confirm_status between 0 and 2),
  banned_until timestamptz null,
  reauthentication_token varchar(255) null default '',
  reauthentication_sent_at timestamptz null,
  is_sso_user boolean not null default false,
  deleted_at timestamptz null,
  is_anonymous boolean not null default false
);
create index users_instance_id_idx on auth.users (instance_id);
create index users_instance_id_email_idx on auth.users (instance_id, lower(email));
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create unique index confirmation_token_idx on auth.users (confirmation_token) where confirmation_token !~ '^[0-9 ]*$';
create unique index recovery_token_idx on auth.users (recovery_token) where recovery_token !~ '^[0-9 ]*$';
create unique index email_change_token_current_idx on auth.users (email_change_token_current)
  where email_change_token_current !~ '^[0-9 ]*$';
create unique index email_change_token_new_idx on auth.users (email_change_token_new)
  where email_change_token_new !~ '^[0-9 ]*$';
create unique index reauthentication_token_idx on auth.users (reauthentication_token)
  where reauthentication_token !~ '^[0-9 ]*$';

create table auth.identities (
  provider_id text not null,
  user_id uuid not null references auth.users (id) on delete cascade,
  identity_data jsonb not null,
  provider text not null,
  last_sign_in_at timestamptz null,
  created_at timestamptz null,
  updated_at timestamptz null,
  email text generated always as (lower(identity_data ->> 'email')) stored,
  id uuid not null default gen_random_uuid() primary key,
  unique (provider_id, provider)
);

alter table public.accounts drop constraint accounts_auth_user_id_fkey;
alter table public.accounts add constraint accounts_auth_user_id_fkey
  foreign key (auth_user_id) references auth.users (id) on delete set null;
"""
"""Instead of lite's tables; ours refer to it as the migrations have it."""


@pytest.fixture
def hosted(database_url: str) -> Iterator[Database]:
    """A database without anybody in it, with the seed run on hosted Supabase Auth's tables."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        db = Database(connection)
        ours = """
            select string_agg(schemaname || '.' || quote_ident(tablename), ', ') from pg_tables
             where schemaname in ('public', 'private')
               and tablename not in ('settings', 'timezones', 'session_transitions', 'clock')
        """
        trigger = "select pg_get_triggerdef(oid) from pg_trigger where tgname = 'link_account'"
        on_sign_up = db.value(trigger)
        connection.execute("set session_replication_role = replica")  # triggers refuse to empty what is append-only
        db.run(f"truncate {db.value(ours)}")
        connection.execute("set session_replication_role = origin")
        connection.execute(HOSTED)
        connection.execute(on_sign_up)
        connection.execute("set lessonkeeper.local = 'on'")
        with connection.transaction():
            connection.execute(SEED.encode())
        yield db


def test_everybody_is_found_by_the_query_that_a_sign_in_makes(hosted: Database) -> None:
    """By instance, lower-case address and audience; a user with another instance, or none, does not exist for it."""
    for person in EVERYBODY:
        assert hosted.rows(
            """
            select id from auth.users
             where instance_id = '00000000-0000-0000-0000-000000000000' and lower(email) = %s and aud = 'authenticated'
               and is_sso_user = false and deleted_at is null and banned_until is null
            """,
            person.email,
        ) == [(person.id,)]


def test_no_column_is_null_that_is_read_into_a_plain_value(hosted: Database) -> None:
    """A null there ends every request about that user in a 500, listing users included."""
    users = (
        "instance_id", "aud", "role", "encrypted_password", "confirmation_token", "recovery_token", "email_change",
        "email_change_token_new", "email_change_token_current", "phone_change", "phone_change_token",
        "reauthentication_token", "raw_app_meta_data", "raw_user_meta_data", "created_at", "updated_at",
    )  # fmt: skip
    for column in users:
        assert hosted.value(f"select count(*) from auth.users where {column} is null") == 0, column
    for column in ("identity_data", "created_at", "updated_at"):
        assert hosted.value(f"select count(*) from auth.identities where {column} is null") == 0, column


def test_everybody_is_confirmed_and_has_the_identity_of_their_address(hosted: Database) -> None:
    assert hosted.rows("select count(*), count(confirmed_at), count(is_super_admin) from auth.users") == [(8, 8, 0)]
    assert sorted(
        hosted.rows(
            "select user_id, provider, provider_id, email, identity_data ->> 'sub', identity_data ->> 'email'"
            " from auth.identities"
        )
    ) == sorted((each.id, "email", str(each.id), each.email, str(each.id), each.email) for each in EVERYBODY)


def test_the_published_password_opens_everybodys_door(hosted: Database) -> None:
    """By another bcrypt than the one that made the hash."""
    hashes = hosted.rows("select distinct encrypted_password from auth.users")
    check = "import {compareSync} from 'bcryptjs'; process.exit(compareSync(process.argv[1], process.argv[2]) ? 0 : 1)"
    node = ["node", "--input-type=module", "--eval", check, "--"]
    ((hash_,),) = hashes
    assert run([*node, SEEDED["SEED_PASSWORD"], hash_], cwd=CHECKOUT)[0] == 0
    assert run([*node, "another password", hash_], cwd=CHECKOUT)[0] == 1


def test_everybody_is_who_they_are_in_the_house(hosted: Database) -> None:
    for person in EVERYBODY:
        me = hosted.call(person, "get_me")
        assert (me["id"], me["email"], me["has_account"]) == (str(person.id), person.email, True)
