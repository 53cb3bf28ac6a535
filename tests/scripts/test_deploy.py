"""What a deployment consists of: Vercel's settings, the scheduled jobs, the document, the check of a build."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from functions.cron import router
from lib.config import Settings
from scripts import deploy_check
from tests.database import Database

ROOT = Path(__file__).parents[2]
CRON = ROOT / "supabase" / "cron.sql"
VERCEL: dict[str, Any] = json.loads((ROOT / "vercel.json").read_text())
FUNCTION: dict[str, Any] = VERCEL["functions"]["functions/main.py"]

# --- Vercel ---------------------------------------------------------------------------------------------


def test_vercel_serves_the_app_that_its_settings_are_about() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, app = project["tool"]["vercel"]["entrypoint"].partition(":")
    assert (ROOT / (module.replace(".", "/") + ".py")).relative_to(ROOT).as_posix() in VERCEL["functions"]
    assert app == "app"


def test_the_function_ships_with_none_of_the_folders_that_only_people_need() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.partition("/")[0] for line in tracked.splitlines() if "/" in line}
    excluded = FUNCTION["excludeFiles"].removeprefix("{").removesuffix("}/**").split(",")
    assert folders - {"functions", "lib"} == set(excluded)


def test_what_is_installed_is_pinned_and_hashed() -> None:
    assert VERCEL["installCommand"] == "uv pip install --require-hashes --requirement requirements.txt"


def test_a_run_ends_before_the_host_ends_it() -> None:
    """A run begins no call after its budget, and the last one may take the time-out."""
    usual = {name: field.default for name, field in Settings.model_fields.items()}
    longest = max(usual["cron_budget_seconds"], usual["month_run_budget_seconds"]) + usual["supabase_timeout_seconds"]
    assert longest < FUNCTION["maxDuration"]


# --- Supabase Cron --------------------------------------------------------------------------------------

# What the extensions of a hosted project offer, as far as the file uses it.
EXTENSIONS = b"""
    create schema cron;
    create table cron.job (jobid bigserial, jobname text unique, schedule text not null, command text not null);
    create table cron.job_run_details (end_time timestamptz);
    create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql
      begin atomic
        insert into cron.job (jobname, schedule, command) values (job_name, schedule, command)
          on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command
          returning jobid;
      end;
    create function cron.unschedule(job_name text) returns boolean language sql
      begin atomic
        delete from cron.job where jobname = job_name returning true;
      end;

    create schema net;
    create table net.requests (id bigserial, url text not null, headers jsonb not null, timeout_milliseconds int);
    create function net.http_get(
      url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds int default 5000
    ) returns bigint language sql
      begin atomic
        insert into net.requests (url, headers, timeout_milliseconds)
          values (url, headers, timeout_milliseconds) returning id;
      end;

    create schema vault;
    create table vault.decrypted_secrets (name text, decrypted_secret text);
"""
SECRETS = """
    insert into vault.decrypted_secrets values
      ('lessonkeeper_functions_url', 'https://lessons.example.com/'), ('lessonkeeper_cron_secret', 'made up')
"""
EACH_MINUTE = "* * * * *"


@pytest.fixture
def hosted(db: Database) -> Database:
    """A database with the extensions of a hosted project, and Vault filled."""
    db.connection.execute(EXTENSIONS)
    db.run(SECRETS)
    return db


def schedule(database: Database) -> str:
    """Run the file; what it said."""
    said: list[str] = []
    database.connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    with database.connection.transaction():
        database.connection.execute(CRON.read_bytes())
    return "\n".join(said)


def jobs(database: Database) -> dict[str, str]:
    return dict(database.rows("select jobname, schedule from cron.job"))


def requests_of_all_jobs(database: Database) -> list[tuple[str, dict[str, str], int]]:
    """Run each job once, as pg_cron does, and take what went out."""
    for (command,) in database.rows("select command from cron.job"):
        database.run(command)
    return [
        (url, headers, timeout)
        for url, headers, timeout in database.rows("select url, headers, timeout_milliseconds from net.requests")
    ]


def test_on_plain_postgres_the_file_says_what_is_missing_and_does_nothing(db: Database) -> None:
    before = db.rows("select oid from pg_namespace order by 1")
    assert schedule(db) == "Nothing is scheduled: Vault, pg_cron, pg_net missing here."
    assert db.rows("select oid from pg_namespace order by 1") == before


def test_with_one_extension_missing_nothing_is_scheduled_either(hosted: Database) -> None:
    hosted.run("drop schema net cascade")
    assert schedule(hosted) == "Nothing is scheduled: pg_net missing here."
    assert jobs(hosted) == {}


def test_run_twice_it_schedules_each_job_once(hosted: Database) -> None:
    for _ in range(2):
        assert schedule(hosted) == ""
        assert jobs(hosted) == {
            "lessonkeeper-complete-sessions": EACH_MINUTE,
            "lessonkeeper-deliver-outbox": EACH_MINUTE,
            "lessonkeeper-send-reminders": EACH_MINUTE,
            "lessonkeeper-auto-approve-cancellations": EACH_MINUTE,
            "lessonkeeper-embed-events": "*/5 * * * *",
            "lessonkeeper-sync-calendar": EACH_MINUTE,
            "lessonkeeper-clean-up": "17 * * * *",
            "lessonkeeper-forget-runs": "30 3 * * *",
        }


def test_the_jobs_call_every_cron_route_with_the_secret_and_time_to_answer(hosted: Database) -> None:
    schedule(hosted)
    paths = {getattr(route, "path", "") for route in router.routes}
    requests = requests_of_all_jobs(hosted)
    assert {url.removeprefix("https://lessons.example.com") for url, _, _ in requests} == paths
    assert len(requests) == len(paths)
    for _, headers, timeout in requests:
        assert headers == {"Authorization": "Bearer made up"}
        assert timeout == FUNCTION["maxDuration"] * 1000


def test_the_secret_stands_in_no_job_and_a_rotated_one_holds_at_once(hosted: Database) -> None:
    schedule(hosted)
    assert hosted.value("select count(*) from cron.job where strpos(command, 'made up') > 0") == 0
    hosted.run("update vault.decrypted_secrets set decrypted_secret = 'new' where name = 'lessonkeeper_cron_secret'")
    requests = requests_of_all_jobs(hosted)
    assert requests
    assert all(headers == {"Authorization": "Bearer new"} for _, headers, _ in requests)


def test_an_empty_vault_is_an_error_and_schedules_nothing(hosted: Database) -> None:
    hosted.run("update vault.decrypted_secrets set decrypted_secret = '' where name = 'lessonkeeper_functions_url'")
    hosted.run("delete from vault.decrypted_secrets where name = 'lessonkeeper_cron_secret'")
    with pytest.raises(Exception, match="lessonkeeper_cron_secret and lessonkeeper_functions_url into Vault first"):
        schedule(hosted)
    assert jobs(hosted) == {}


def test_a_job_of_ours_that_is_listed_no_more_goes_and_other_peoples_stay(hosted: Database) -> None:
    hosted.run("select cron.schedule('lessonkeeper-old', '* * * * *', 'select 1')")
    hosted.run("select cron.schedule('their-own', '* * * * *', 'select 1')")
    schedule(hosted)
    assert "lessonkeeper-old" not in jobs(hosted)
    assert "their-own" in jobs(hosted)


def test_runs_older_than_a_week_are_forgotten(hosted: Database) -> None:
    schedule(hosted)
    hosted.run("insert into cron.job_run_details select now() - day * interval '1 day' from generate_series(6, 9) day")
    requests_of_all_jobs(hosted)
    assert hosted.value("select array_agg(now() - end_time order by 1) = '{6 days,7 days}' from cron.job_run_details")


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_explains_exactly_the_variables_that_exist() -> None:
    document = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    table = document.partition("\n### Variables\n")[2].partition("\n#")[0]
    explained = re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)
    assert sorted(explained) == sorted(name.upper() for name in Settings.model_fields)


# --- make deploy-check ----------------------------------------------------------------------------------


def test_the_check_builds_what_git_knows_or_would_add_and_nothing_else(tmp_path: Path) -> None:
    copy = deploy_check.copy_of_checkout(tmp_path / "copy")
    assert (copy / "lib" / "config.py").read_bytes() == (ROOT / "lib" / "config.py").read_bytes()
    assert (copy / "vercel.json").is_file()
    assert not (copy / ".venv").exists()
    assert not (copy / "node_modules").exists()


def test_the_check_refuses_a_function_without_our_code_or_with_our_tests() -> None:
    deploy_check.must_ship(deploy_check.SHIPPED)
    with pytest.raises(deploy_check.WrongError, match="missing in the built function: lib"):
        deploy_check.must_ship(deploy_check.SHIPPED - {"lib"})
    with pytest.raises(deploy_check.WrongError, match=r"shipped without need .*: tests"):
        deploy_check.must_ship(deploy_check.SHIPPED | {"tests"})


def test_the_check_says_what_this_machine_lacks_with_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy_check, "PYTHON", "3.99")
    assert deploy_check.main() == deploy_check.CANNOT_TELL == 3
    assert capsys.readouterr().err.startswith("Not checked: no Python 3.99 runs here")
