# The verbs of this repository; `make help` lists them.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SDKS := $(VENV)/.sdks
RIVALS := $(VENV)/.rivals
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PYTHONDONTWRITEBYTECODE :=
export ALPHA_HOME ?= var

.DEFAULT_GOAL := help
.PHONY: help rivals demo test test-slow sim chaos check bench format lock proto topology clean setup

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything, pinned by hash

$(READY): requirements/all.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	"expected Python 3.11 or newer, found " + sys.version.split()[0] + "; try: make PYTHON=python3.12 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once; up to two minutes) …"
	@$(PIP) --require-hashes --requirement requirements/uv.txt
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes \
	  --requirement requirements/all.txt 2>/dev/null || \
	  $(PIP) --require-hashes --requirement requirements/all.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)

# The exchange's own SDKs, for tests/conformance alone: they say Python 3.13, and run on 3.11.
$(SDKS): $(READY) requirements/conformance.txt
	@$(PIP) --require-hashes --no-deps --ignore-requires-python \
	  --requirement requirements/conformance.txt
	@touch $(SDKS)

# The rival of one benchmark, in an environment of its own: it pins what we don't.
$(RIVALS): $(READY) requirements/rivals.txt
	@$(PYTHON) -m venv $(VENV)/rivals
	@$(VENV)/rivals/bin/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes --requirement requirements/rivals.txt
	@touch $(RIVALS)

rivals: $(RIVALS) ## install nautilus_trader for `make bench ARGS=backtest` (200 MB)

demo: $(READY) ## trade one hourly window against the simulated exchange (ARGS="--help")
	@$(BIN)/alpha demo $(ARGS)

test: $(SDKS) ## run the tests in two processes (ARGS is passed to pytest; -n 0 for one)
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

test-slow: $(SDKS) ## run the long suites: a kill of each service, random kills, storms
	@$(BIN)/python -m pytest -m slow $(ARGS)

SEEDS ?= 2000
RUNS ?= 1
sim: $(READY) ## simulate seeds of trouble around the broker (SEEDS=n, or SEED=k for one again)
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

chaos: $(READY) ## break real processes: the chaos scenarios, with a table at the end (RUNS=n)
	@$(BIN)/python -m tests.chaos --runs $(RUNS) $(ARGS)

check: $(READY) ## lint, types, import rules, tidy tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/tidy

bench: $(READY) ## run the benchmarks; JSON goes to bench-results/
	@$(BIN)/python -m tests.bench $(ARGS)

format: $(READY) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

lock: $(READY) ## compile requirements/*.txt from pyproject.toml
	@tools/lock.sh

proto: $(READY) ## generate the gRPC code from proto/*.proto
	@$(BIN)/python -m tools.make_proto

topology: $(READY) ## write deploy/nats and docs/topology.md from libs/common/topology.py
	@$(BIN)/python -m libs.common.nats_config

clean: ## remove .venv and everything that was generated
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-results
