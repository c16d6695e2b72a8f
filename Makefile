# The handful of commands; .ci/run calls the same. Each does its own set-up, which costs nothing once done.
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run test lint bench kill faults soak overload simulate mutants setup setup-dev lock clean peers

PY := .venv/bin/python
ROUNDS ?= 200
CRASHES ?= 20
UPTO ?= 200
JOBS ?= 3
SEEDS ?= 10000
HOURS ?= 2
SHARE ?= 0.5
MINUTES ?= 10
LIMIT ?= 512
UV ?= uv
COMPILE = $(UV) pip compile --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet

run: setup  ## the demo: a bank's bad afternoon at a real daemon, until Ctrl-C
	@tools/debian-packages mosquitto || echo "Going on without a broker: the demo plays HTTP only."
	@.venv/bin/eventd demo

test: setup-dev peers  ## every test, JOBS at once, with coverage: the core whole, the rest 95 %
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -n $(JOBS) --dist loadgroup --max-worker-restart=0
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --skip-covered --include='src/eventd/core/*' --fail-under=100
	$(PY) -m coverage report --skip-covered

lint: setup-dev  ## format, lint, types, architecture
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup-dev peers  ## one JSON line a figure
	$(PY) -m bench.run $(FIGURES)

kill: setup-dev peers  ## kill -9 under load, ROUNDS times, and CRASHES times at each named place
	$(PY) -m tests.acceptance.kill --rounds $(ROUNDS)
	$(PY) -m tests.acceptance.crashpoints --rounds $(CRASHES)

faults: setup-dev peers  ## the first UPTO fsyncs, then writes of a real process, each failing once
	$(PY) -m tests.acceptance.faults --upto $(UPTO)

soak: setup-dev peers  ## HOURS of mixed load, SHARE of what one core takes, a fault every five minutes
	$(PY) -m tests.acceptance.soak --hours $(HOURS) --share $(SHARE)

overload: setup-dev peers  ## a flood for MINUTES inside LIMIT MB, a quiet source beside one, a slow disk
	$(PY) -m tests.acceptance.overload --minutes $(MINUTES) --limit $(LIMIT)

simulate: setup-dev  ## the daemon on a simulated machine that fails: SEEDS seeds
	$(PY) -m tests.simulation --seeds $(SEEDS)

mutants: setup-dev peers  ## fifteen ways to break eventd, each to be caught by the simulation, seven by real processes too
	$(PY) -m tests.simulation.mutants
	$(PY) -m tests.simulation.mutants --real

setup: .venv/installed  ## .venv with what the program needs
setup-dev: .venv/installed-dev  ## the same, and what tests and lint need

# The stamps are written last, so that a set-up that failed half way is done again.
# The development lock holds the other whole: where it is installed, so is the program.
.venv/installed: requirements.lock pyproject.toml tools/venv
	@tools/venv requirements.lock
	@touch $@

.venv/installed-dev: requirements-dev.lock requirements.lock pyproject.toml tools/venv
	@tools/venv requirements-dev.lock
	@touch $@ .venv/installed

peers:
	@tools/debian-packages mosquitto prometheus prometheus-alertmanager gcc libc6-dev

lock:  ## pin anew from pyproject.toml, as far as the locks in place allow (UPGRADE=1: to the newest); needs uv
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra build -o requirements.lock pyproject.toml
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra build --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:  ## remove what set-up, tests and builds made
	rm -rf .venv dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
