"""The rules of the house that can be read off the database's own catalog, and off the migrations' text."""

import re
from pathlib import Path

import pytest

from tests.database import Database
from tests.laws.access import FOR_THE_SERVICE

MIGRATIONS = sorted((Path(__file__).parents[2] / "supabase" / "migrations").glob("*.sql"))
API_ROLES = ("anon", "authenticated", "service_role")
OURS = "('public', 'private')"

# Columns that say everything by their names, wherever they stand.
PLAIN = {
    "id", "created_at", "updated_at", "name", "email", "phone", "timezone", "display_name", "subject", "level",
    "status", "note", "reason", "role", "action",
}  # fmt: skip

ANSWERS_FROM_ROWS_PICKED_AS_THE_CALLER = {
    "page_of", "listed_events", "listed_homework", "found_events", "events_for_brief", "brief_from", "keep_brief",
}  # fmt: skip
"""Where row security decides what is read: the rows are picked as the caller and handed to these."""

FUNCTIONS = f"""
    select n.nspname as schema, p.proname as name, p.oid::regprocedure::text as signature, p.*,
           pg_get_functiondef(p.oid) as source
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in {OURS} and p.prokind = 'f'
"""
RELATIONS = f"""
    select c.*, n.nspname as schema, n.nspname || '.' || c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in {OURS}
"""


def found(db: Database, query: str, *parameters: object) -> list[str]:
    """The first column of a query: whatever breaks the law."""
    return [str(row[0]) for row in db.rows(query, *parameters)]


def plain_sql(text: str) -> str:
    """A chapter without its comments and without the texts in quotes."""
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", text)


def test_there_is_something_to_look_at(db: Database) -> None:
    assert len(MIGRATIONS) >= 12
    assert len(db.rows(FUNCTIONS)) > 80
    assert len(db.rows(f"{RELATIONS} and c.relkind = 'r'")) > 15


# --- default deny ----------------------------------------------------------------------------------------------


def test_row_security_is_on_everywhere(db: Database) -> None:
    # The movable clock belongs to the tests, not to the migrations.
    assert found(
        db,
        f"select name from ({RELATIONS} and c.relkind in ('r', 'p') and not c.relrowsecurity) as r"
        " where name <> 'private.clock'",
    ) == []  # fmt: skip


def test_anon_may_use_the_schema_public_and_nothing_else(db: Database) -> None:
    assert found(db, f"select name from ({RELATIONS}) r where relkind in ('r','p','v','m','f') and has_table_privilege('anon', oid, 'select, insert, update, delete, truncate, references, trigger')") == []  # fmt: skip  # noqa: E501
    assert found(db, f"select name from ({RELATIONS}) r where relkind in ('r','p','v','m','f') and has_any_column_privilege('anon', oid, 'select, insert, update, references')") == []  # fmt: skip  # noqa: E501
    assert found(db, f"select name from ({RELATIONS}) r where case relkind when 'S' then has_sequence_privilege('anon', oid, 'usage, select, update') else false end") == []  # fmt: skip  # noqa: E501
    assert (
        found(db, f"select signature from ({FUNCTIONS}) f where has_function_privilege('anon', oid, 'execute')") == []
    )
    assert found(db, f"select nspname from pg_namespace where nspname in {OURS} and has_schema_privilege('anon', oid, 'usage')") == ["public"]  # fmt: skip  # noqa: E501


def test_nothing_is_granted_to_everyone(db: Database) -> None:
    """PUBLIC is every role there is and will be."""
    for kind, catalog, acl, owner in (
        ("r", "pg_class", "relacl", "relowner"),
        ("f", "pg_proc", "proacl", "proowner"),
    ):
        schema = {"pg_class": "relnamespace", "pg_proc": "pronamespace"}[catalog]
        assert found(
            db,
            f"select o.oid from {catalog} o cross join aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) a"
            f" where a.grantee = 0 and o.{schema}::regnamespace::text in {OURS}",
        ) == []  # fmt: skip
    assert (
        found(db, "select 1 from pg_namespace, aclexplode(nspacl) a where nspname = 'private' and a.grantee = 0") == []
    )


def test_api_roles_only_read_tables(db: Database) -> None:
    for role in API_ROLES:
        assert found(
            db,
            f"select name from ({RELATIONS}) r where relkind in ('r', 'p', 'v', 'm', 'f') and ("
            " has_table_privilege(%s, oid, 'insert, update, delete, truncate, references, trigger')"
            " or has_any_column_privilege(%s, oid, 'insert, update, references'))",
            role, role,
        ) == []  # fmt: skip
        assert found(
            db,
            f"select name from ({RELATIONS}) r where case relkind when 'S' then"
            " has_sequence_privilege(%s, oid, 'usage, select, update') else false end",
            role,
        ) == []  # fmt: skip


def test_api_roles_reach_nothing_private_by_name(db: Database) -> None:
    for role in API_ROLES:
        assert not db.value("select has_schema_privilege(%s, 'private', 'usage')", role)
        assert not db.value("select has_schema_privilege(%s, 'private', 'create')", role)
        assert not db.value("select has_schema_privilege(%s, 'public', 'create')", role)
        assert found(
            db,
            f"select name from ({RELATIONS}) r where schema = 'private' and relkind in ('r', 'p', 'v', 'm', 'f')"
            " and has_table_privilege(%s, oid, 'select')",
            role,
        ) == []  # fmt: skip


def test_every_function_of_the_api_is_granted_to_signed_in_people_alone_or_to_the_service_key_alone(
    db: Database,
) -> None:
    granted = {
        name: (is_for_people, is_for_the_service)
        for name, is_for_people, is_for_the_service in db.rows(
            "select name, has_function_privilege('authenticated', oid, 'execute'),"
            f" has_function_privilege('service_role', oid, 'execute') from ({FUNCTIONS}) f where schema = 'public'"
        )
    }
    assert granted.keys() > FOR_THE_SERVICE
    assert granted == {name: (name not in FOR_THE_SERVICE, name in FOR_THE_SERVICE) for name in granted}


def test_private_functions_are_granted_only_where_a_wrapper_or_a_policy_needs_them(db: Database) -> None:
    wrapped = {name for (name,) in db.rows(f"select name from ({FUNCTIONS}) f where schema = 'public'")}
    needed = {
        "anon": set[str](),
        "authenticated": {"caller_id", "is_admin", "counterparts", "booking_counterparts"}
        | ANSWERS_FROM_ROWS_PICKED_AS_THE_CALLER
        | (wrapped - FOR_THE_SERVICE),
        "service_role": wrapped & FOR_THE_SERVICE,
    }
    for role in API_ROLES:
        granted = {
            name
            for (name,) in db.rows(
                f"select name from ({FUNCTIONS}) f"
                " where schema = 'private' and has_function_privilege(%s, oid, 'execute')",
                role,
            )
        }
        assert granted == needed[role]


def test_nothing_belongs_to_an_api_role(db: Database) -> None:
    roles = "('anon', 'authenticated', 'service_role', 'authenticator')"
    assert found(db, f"select name from ({RELATIONS}) r where relowner::regrole::text in {roles}") == []
    assert found(db, f"select signature from ({FUNCTIONS}) f where proowner::regrole::text in {roles}") == []
    assert found(db, f"select nspname from pg_namespace where nspowner::regrole::text in {roles}") == []


def test_what_is_made_later_is_granted_to_nobody(db: Database) -> None:
    for schema in ("public", "private"):
        db.run(f"create table {schema}.later (id bigint generated always as identity primary key, word text)")
        db.run(f"create view {schema}.later_view as select 1 as one")
        db.run(f"create sequence {schema}.later_sequence")
        db.run(f"create function {schema}.later_function() returns integer language sql return 1")
        for role in API_ROLES:
            for relation in ("later", "later_view"):
                assert not db.value(
                    "select has_table_privilege(%s, %s,"
                    " 'select, insert, update, delete, truncate, references, trigger')",
                    role, f"{schema}.{relation}",
                )  # fmt: skip
            for sequence in ("later_sequence", "later_id_seq"):
                assert not db.value(
                    "select has_sequence_privilege(%s, %s, 'usage, select, update')", role, f"{schema}.{sequence}"
                )
            assert not db.value("select has_function_privilege(%s, %s, 'execute')", role, f"{schema}.later_function()")


# --- functions -------------------------------------------------------------------------------------------------


def test_every_function_fixes_its_search_path_and_time_zone(db: Database) -> None:
    assert found(
        db,
        f"select signature from ({FUNCTIONS}) f"
        """ where not coalesce(proconfig, '{}') @> array['search_path=""', 'TimeZone=UTC']""",
    ) == []  # fmt: skip


def test_no_function_of_the_api_runs_as_its_owner(db: Database) -> None:
    assert found(db, f"select signature from ({FUNCTIONS}) f where schema = 'public' and prosecdef") == []


def test_every_function_of_the_api_passes_its_arguments_to_its_namesake_and_does_nothing_else(db: Database) -> None:
    for name, names, source in db.rows(
        f"select name, coalesce(proargnames, '{{}}'), source from ({FUNCTIONS}) f where schema = 'public'"
    ):
        body = re.search(r"\n\s*RETURN (.+?)\s*\Z", source, re.DOTALL)
        assert body is not None, f"{name} is no wrapper"
        call = re.fullmatch(r"private\.(\w+)\((.*)\)", re.sub(r"\s+", " ", body[1]))
        assert call is not None, f"{name} is no wrapper: {body[1]}"
        passed = [] if not call[2] else [
            re.sub(r"^COALESCE\((\w+), \w+\)$", r"\1", each) for each in re.split(r", (?![^(]*\))", call[2])
        ]  # fmt: skip
        assert (call[1], passed) == (name, list(names)), name


def test_no_name_of_the_api_means_two_functions(db: Database) -> None:
    assert found(
        db, f"select name from ({FUNCTIONS}) f where schema = 'public' group by name having count(*) > 1"
    ) == []  # fmt: skip


def test_every_function_of_the_api_takes_named_parameters_and_answers_a_document(db: Database) -> None:
    assert found(
        db,
        f"select signature from ({FUNCTIONS}) f where schema = 'public' and (prorettype <> 'jsonb'::regtype"
        " or proretset or provariadic <> 0 or proargmodes is not null"
        " or exists (select from unnest(proargnames) as n where n !~ '^p_[a-z_]+$'))",
    ) == []  # fmt: skip


def test_every_function_of_the_api_tells_what_it_does_and_how_it_refuses(db: Database) -> None:
    assert found(
        db,
        f"select signature from ({FUNCTIONS}) f where schema = 'public'"
        " and coalesce(obj_description(oid, 'pg_proc'), '') !~ 'Refuses'",
    ) == []  # fmt: skip


def test_every_refusal_of_a_function_that_may_be_called_has_a_registered_shape(db: Database) -> None:
    for signature, source in db.rows(f"select signature, source from ({FUNCTIONS}) f where schema = 'private'"):
        for status, code in re.findall(r"private\.refuse\((\d+), '([^']*)'", source):
            assert int(status) in {401, 402, 403, 404, 409, 422, 429}, signature
            assert re.fullmatch(r"[a-z][a-z0-9_]{1,63}", code), signature


# --- tables ----------------------------------------------------------------------------------------------------


def test_every_table_and_view_says_what_it_is(db: Database) -> None:
    assert found(
        db,
        f"select name from ({RELATIONS} and c.relkind in ('r', 'p', 'v', 'm')) r"
        " where obj_description(oid, 'pg_class') is null",
    ) == []  # fmt: skip


def test_columns_that_an_admin_meets_in_studio_are_explained_where_their_name_is_not_enough(db: Database) -> None:
    """Plain names, references and yes-or-no questions speak for themselves."""
    unexplained = found(
        db,
        """
        select c.relname || '.' || a.attname
          from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
           and col_description(c.oid, a.attnum) is null
           and a.attname <> all (%s)
           and a.atttypid <> 'boolean'::regtype
           and not exists (select from pg_constraint f
                            where f.conrelid = c.oid and f.contype in ('f', 'p') and a.attnum = any (f.conkey))
        """,
        list(PLAIN),
    )
    assert unexplained == []


def test_every_foreign_key_is_led_by_an_index(db: Database) -> None:
    assert found(
        db,
        f"""
        select k.conrelid::regclass || ' ' || k.conname
          from pg_constraint k join ({RELATIONS}) t on t.oid = k.conrelid
         where k.contype = 'f'
           and not exists (
             select from pg_index i
              where i.indrelid = k.conrelid and i.indisvalid
                and (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
                -- A partial index serves when it leaves out nothing but empty references.
                and (i.indpred is null
                     or pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$'))
        """,
    ) == []  # fmt: skip


def test_every_moment_has_a_time_zone(db: Database) -> None:
    assert found(
        db,
        f"select name || '.' || attname from ({RELATIONS}) r join pg_attribute a on a.attrelid = r.oid and attnum > 0"
        " where atttypid in ('timestamp'::regtype, 'time'::regtype, 'timetz'::regtype)",
    ) == []  # fmt: skip
    assert found(
        db,
        f"select signature from ({FUNCTIONS}) f where array['timestamp'::regtype::oid, 'time'::regtype::oid]"
        " && (proargtypes::oid[] || prorettype)",
    ) == []  # fmt: skip


def test_every_constraint_is_named_and_checked(db: Database) -> None:
    """Ours read like sentences; what Postgres numbers (`_check1`) nobody finds again."""
    assert found(
        db,
        f"select conname from pg_constraint k join ({RELATIONS}) r on r.oid = k.conrelid"
        " where not convalidated or (contype = 'c' and (conname ~ '_check[0-9]*$') and r.name <> 'private.clock')",
    ) == []  # fmt: skip


# --- policies --------------------------------------------------------------------------------------------------


def test_policies_are_sentences_for_signed_in_people_one_to_a_table_and_action(db: Database) -> None:
    policies = db.rows(
        f"select tablename, policyname, permissive, roles::text[], cmd from pg_policies where schemaname in {OURS}"
    )
    assert len({(table, command) for table, _, _, _, command in policies}) == len(policies)
    for table, name, permissive, roles, command in policies:
        assert (permissive, roles, command) == ("PERMISSIVE", ["authenticated"], "SELECT"), (table, name)
        assert re.fullmatch(r"[A-Z][a-z]+ [a-z ,']+", name), name
        assert len(name.split()) >= 4, name


def test_every_table_of_the_api_has_a_policy(db: Database) -> None:
    assert found(
        db,
        f"select name from ({RELATIONS} and c.relkind = 'r') r where schema = 'public'"
        " and not exists (select from pg_policy where polrelid = r.oid)",
    ) == []  # fmt: skip


def test_policies_ask_who_is_calling_once_a_query(db: Database) -> None:
    """`(select private.caller_id())` runs once; without the brackets it runs for every row."""
    for name, condition in db.rows("select policyname, qual from pg_policies where schemaname = 'public'"):
        for call in re.finditer(r"private\.(caller_id|is_admin|(booking_)?counterparts)\(\)", condition):
            assert condition[: call.start()].rstrip().endswith("SELECT"), name


# --- the text of the migrations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", MIGRATIONS, ids=lambda path: path.stem)
def test_a_chapter_creates_what_is_not_there_and_says_so_once(chapter: Path) -> None:
    text = plain_sql(chapter.read_text(encoding="utf-8"))
    lenient = re.findall(r"create[\w ]* if not exists [\w ]+|create or replace [\w ]+", text)
    assert [each for each in lenient if not re.match(r"create (schema|extension) if not exists", each)] == []


@pytest.mark.parametrize("chapter", MIGRATIONS, ids=lambda path: path.stem)
def test_a_chapter_opens_with_its_story(chapter: Path) -> None:
    lines = chapter.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"-- \d+\. [A-Z][\w ,]+", lines[0])
    assert lines[1] == "--"
    story = lines[2 : next(number for number, line in enumerate(lines) if not line.startswith("--"))]
    assert 4 <= len(story) <= 18


def test_chapters_are_numbered_in_order() -> None:
    numbers = [int(path.read_text(encoding="utf-8").split(".", 1)[0].removeprefix("-- ")) for path in MIGRATIONS]
    assert numbers == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("chapter", MIGRATIONS, ids=lambda path: path.stem)
def test_a_chapter_reads_the_time_from_one_clock(chapter: Path) -> None:
    text = plain_sql(chapter.read_text(encoding="utf-8"))
    readers = re.findall(
        r"(?<!private\.)\b(now\(\)|pg_catalog\.now\(\)|current_timestamp|current_date|current_time|localtime\w*"
        r"|clock_timestamp\(\)|statement_timestamp\(\)|transaction_timestamp\(\)|timeofday\(\))",
        text,
    )
    # The clock itself, in the first chapter; the health check, which compares it with the real one; and the
    # expiry of what opens something, which no clock of the house may put off.
    allowed = {
        "foundation": ["pg_catalog.now()"],
        "attendance": ["now()"],
        "consent": ["now()"] * 2,
        "progress": ["now()"] * 3,
    }
    assert readers == allowed.get(chapter.stem.split("_", 1)[1], [])


@pytest.mark.parametrize("chapter", MIGRATIONS, ids=lambda path: path.stem)
def test_a_chapter_leaves_local_times_to_python_and_never_asks_for_a_retry(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8").lower()
    assert "40001" not in text
    assert "serialization_failure" not in text
    assert re.findall(r"at time zone|\btimezone\(|\btimetz\b|set local timezone", text) == []
    assert set(re.findall(r"set timezone = (\S+)", text)) <= {"'utc'"}
    assert re.findall(r"errcode = '(?!pt|lk)", text) == []


def test_a_chapter_is_lower_case() -> None:
    words = r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|FUNCTION|TABLE|RETURNS|BEGIN|END|FROM|WHERE)\b"
    for chapter in MIGRATIONS:
        assert re.findall(words, plain_sql(chapter.read_text(encoding="utf-8"))) == [], chapter.name
