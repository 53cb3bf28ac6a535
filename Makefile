# Lessonkeeper. `make` alone lists what there is; every target does its own set-up, once.

PYTHON ?= python3
python := .venv/bin/python
stack  := $(python) -m scripts.stack
# Each worker has a stack of its own, so more of them than cores would only take memory.
spread := --numprocesses auto --maxprocesses 4 --dist worksteal

ready := .venv/.ready node_modules/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo month test test-live test-long up down reset status env benchmark lint lock snapshot advisors deploy-check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(ready) ## install what the other targets need (they do it themselves)

demo: $(ready) ## a month of lessons, told from an empty database
	@$(python) -m scripts.demo

month: $(ready) ## a month's sessions for every match of the running stack: make month MONTH=2026-03
	@$(python) -m scripts.month --month '$(MONTH)'

test: $(ready) ## all tests
	@$(python) -m pytest -m "not long" $(spread)

test-live: $(ready) ## only the tests that speak HTTP to a whole stack
	@$(python) -m pytest -m "live and not long" $(spread)

test-long: $(ready) ## all tests, with the large counts too
	@$(python) -m pytest $(spread)

up: $(ready) ## start database, API, sign-in, Studio and functions
	@$(stack) up

down: $(ready) ## stop them; the data stays
	@$(stack) down

reset: $(ready) ## stop them and throw the data away
	@$(stack) reset

status: $(ready) ## what runs, and where
	@$(stack) status

env: $(ready) ## addresses and keys as shell assignments, for eval
	@$(stack) env

benchmark: $(ready) ## what our functions add to a bare RPC, as ratios
	@$(python) -m benchmarks.round_trips

lint: $(ready) ## ruff and pyright
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@node_modules/.bin/pyright

advisors: $(ready) ## Supabase's own advisors against the running stack
	@$(stack) advisors

deploy-check: $(ready) ## build what Vercel would deploy, without an account, and ask it a few questions
	@$(python) -m scripts.deploy_check

snapshot: $(ready) ## write the schema's snapshot anew, after a change of a migration
	@$(python) -m pytest -q tests/laws/test_schema_snapshot.py --snapshot-update

lock: $(ready) ## pin and hash every package again, from pyproject.toml and package.json
	@$(compile) pyproject.toml --output-file requirements.txt
	@$(compile) pyproject.toml --group dev --constraints requirements.txt --output-file requirements-dev.txt
	@npm install --package-lock-only

compile := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-emit-index-url --no-config --custom-compile-command "make lock"

# --- set-up -------------------------------------------------------------------------------------------

say = { echo "$(1)" >&2; exit 1; }

.venv/.ready: requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || $(call say,Python 3.11 or newer is needed: no $(PYTHON) here. Install it or say which: make PYTHON=/path/to/python3)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || $(call say,Python 3.11 or newer is needed; $(PYTHON) is older. Say which: make PYTHON=python3.12)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call say,$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv)
	@echo "Installing Python packages into .venv"
	@test -x $(python) || $(PYTHON) -m venv .venv
	@$(python) -m pip install -qq --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

node_modules/.ready: package-lock.json .npmrc
	@command -v node >/dev/null || $(call say,Node 20 or newer is needed: no node here.)
	@node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || $(call say,Node 20 or newer is needed; node is older.)
	@command -v npm >/dev/null || $(call say,npm is needed: it comes with Node.)
	@echo "Installing Node packages into node_modules"
	@npm ci --silent
	@touch $@
