# Every verb of the project; `make help` lists them. Hooks and CI call the same ones.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3.11
PORT ?= 8000
DATA_DIR ?= trainyard-data
WORKERS ?= 1
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
QUIETER := 2>&1 | { grep -v '^WARNING: Location' || true; }
STAMP := .venv/.installed
BENCH_STAMP := .venv-bench/.installed
# of the faults what shows most in least time; `make test-faults` causes them all
CHAOS := tests/e2e/faults/test_chaos.py tests/e2e/faults/test_far_worker.py tests/e2e/faults/test_rebuild.py
# in written order, the long ones first: else the second core idles at the end
TWO := -n 2 --dist loadfile --no-loadscope-reorder -q

.PHONY: help install demo up bench test test-all test-chaos test-faults test-docs test-browser test-containers check format catalog openapi reference clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1\t/' | expand -t 20

install: $(STAMP) ## make .venv with everything, where it is missing or stale

$(STAMP): requirements.lock requirements-torch.lock requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(PIP) --require-hashes --no-deps -r requirements.lock -r requirements-dev.lock $(QUIETER)
	@$(PIP) -r requirements-torch.lock $(QUIETER)
	@$(PIP) --no-deps --no-build-isolation --editable . $(QUIETER)
	@$(BIN)/python -c 'import torch, fastapi, celery, service, worker'
	@touch $(STAMP)

# beside .venv, whose packages it sees: the rivals of the benchmarks, with what only they need
$(BENCH_STAMP): $(STAMP) requirements-bench.lock
	@$(BIN)/python -m venv --clear --without-pip .venv-bench
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	@$(BIN)/python -m pip --python .venv-bench install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-bench.lock 2>&1 | { grep -v '^WARNING: Location' || true; }
	@.venv-bench/bin/python -c 'import worker.training.vision, lightning, ignite'
	@touch $(BENCH_STAMP)

demo: install ## train an example from start to finish, and stop everything
	@$(BIN)/trainyard demo

up: install ## serve on this machine (PORT=8000 DATA_DIR=trainyard-data WORKERS=1)
	@exec $(BIN)/trainyard up --port $(PORT) --data-dir $(DATA_DIR) --workers $(WORKERS)

test: install ## unit, integration and e2e tests
	@$(BIN)/python -m pytest $(wildcard tests/e2e/test_*.py) tests/integration tests/unit $(TWO)

test-all: install ## everything but containers, the long runs too
	@TRAINYARD_LONG_TESTS=1 $(BIN)/python -m pytest tests/e2e tests/docs tests/browser tests/integration tests/unit $(TWO)

test-chaos: install ## kill, freeze and cut for a minute, cut off another host, and rebuild a lost Redis
	@$(BIN)/python -m pytest $(CHAOS) $(TWO)

test-faults: install ## kill, freeze and cut everything (TRAINYARD_CHAOS_SEED=1 repeats a chaos run)
	@$(BIN)/python -m pytest tests/e2e/faults $(TWO)

test-docs: install ## run every block of code of README and docs, word by word
	@$(BIN)/python -m pytest tests/docs -q

test-browser: install ## drive the dashboard in a real Chromium (Debian: apt-get install chromium)
	@$(BIN)/python -m pytest tests/browser $(TWO)

test-containers: install ## build and run the containers on a real engine
	@$(BIN)/python -m pytest tests/containers -q

bench: install $(BENCH_STAMP) ## the table of speed beside others' (about an hour), validate's milliseconds, a step's memory
	@$(BIN)/python -m tests.bench --json docs/benchmarks.json --readme README.md
	@$(BIN)/python -m tests.bench.validate
	@$(BIN)/python -m tests.bench.memory

check: install ## lint, types, import contracts, generated files, what is locked and vendored
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m worker.catalog --check
	@$(BIN)/python -m service.openapi --check
	@$(BIN)/python -m service.reference --check
	@$(BIN)/python -m pytest -q tests/unit/test_supply.py

format: install ## rewrite the code as `make check` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

catalog: install ## write service/spec/catalog.json from the installed torch
	@$(BIN)/python -m worker.catalog

openapi: install ## write docs/openapi.json
	@$(BIN)/python -m service.openapi

reference: install ## write the reference pages: docs/spec.md, docs/spec/*.md, docs/api.md
	@$(BIN)/python -m service.reference

clean: ## remove what the verbs made, but no data
	@rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache trainyard-demo
