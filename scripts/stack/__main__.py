"""The stack on the command line: `python -m scripts.stack up`, or simply `make up`."""

import argparse
import shlex
import signal
import sys

from scripts.stack import Stack, StackError


def up(stack: Stack) -> int:
    """Start what does not run yet; a stack that is up is left alone."""
    stack.start_database()
    stack.start_services()
    print("Up." if stack.started else "Already up.")
    _tell(stack)
    return 0


def down(stack: Stack) -> int:
    was = any(stack.processes().values())
    stack.stop()
    print("Down; the data stays." if was else "Nothing was running.")
    return 0


def reset(stack: Stack) -> int:
    stack.reset()
    print("Down, and the data is gone. `make up` builds it anew.")
    return 0


def status(stack: Stack) -> int:
    """Succeeds when everything runs."""
    for name, running in stack.processes().items():
        print(f"{name:20} {'running' if running else 'ended'}")
    if not stack.running:
        print("Not running. Start it with `make up`.")
        return 1
    _tell(stack)
    return 0


def env(stack: Stack) -> int:
    if not stack.running:
        raise StackError("The stack is not running. Start it with `make up`.")
    for name, value in stack.env().items():
        print(f"{name}={shlex.quote(value)}")
    return 0


def advisors(stack: Stack) -> int:
    exit_status, said = stack.advise()
    print(said)
    return exit_status


def _tell(stack: Stack) -> None:
    values = stack.env()
    rows = {
        "API docs": values["FUNCTIONS_URL"] + "/api/docs",
        "Studio": values["STUDIO_URL"],
        "Supabase": values["SUPABASE_URL"],
        "Database": values["DATABASE_URL"],
        "Sign in as": f"{values['ADMIN_EMAIL']}, {values['TUTOR_EMAIL']}, {values['STUDENT_EMAIL']}",
        "Password": values["SEED_PASSWORD"],
    }
    print("\n".join(f"  {name:12} {value}" for name, value in rows.items()))


def main() -> int:
    """Run one command; its exit status."""
    commands = {command.__name__: command for command in (up, down, reset, status, env, advisors)}
    parser = argparse.ArgumentParser(prog="python -m scripts.stack", description=__doc__)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--name", default="dev", help="which stack of this checkout (default: dev)")
    parser.add_argument("--clock", help="a time at which the database's clock stands still (default: the real clock)")
    choice = parser.parse_args()

    # A `kill` ends us as Ctrl-C does: what was started is stopped first.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return commands[choice.command](Stack(choice.name, choice.clock, say=print))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing is left running.", file=sys.stderr)
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
