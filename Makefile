# Everything runs from .venv, which the first target that needs it makes.
# On Linux without an NVIDIA GPU, a smaller torch:
#   make run PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON   ?= python3
PIP_ARGS ?=
ARGS     ?=
WORKERS  ?= 2
OUTPUTS  ?= outputs
PORT     ?= 5000

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# one thread per pytest worker: two workers that each use all cores slow each other down; each has
# its own share of the files, so that what a file prepares once is not prepared by every worker;
# Python may keep what it compiled, or every process of the tests compiles everything again
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run install test test-all check reference format bench-peers ui wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(STAMP) ## reconstruct the built-in scan; ARGS="data=npz ..." for anything else
	$(BIN)/python -m ptycho.run $(ARGS)

install: $(STAMP) ## make .venv with the tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ptycho needs Python 3.11 or newer and '$(PYTHON)' is not; name one with PYTHON=, for instance: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

$(STAMP).ray: $(STAMP)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[dev,ray]'
	@touch $@

test: $(STAMP) ## run the tests, without those marked slow
	$(PYTEST) $(ARGS)

test-all: $(STAMP).ray ## run all tests, half an hour; those in a browser need Debian's chromium-driver
	$(PYTEST) -m "" $(ARGS)

check: $(STAMP) ## lint, formatting, types and import layers
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo

reference: $(STAMP) ## fill the tables of docs/reference.md and docs/migration.md
	$(BIN)/python -m scripts.make_reference $(ARGS)

format: $(STAMP) ## mend formatting and what the linter can mend
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench-peers: $(STAMP) ## build the packages that benchmarks.quality compares with, in .venv-peers
	$(BIN)/python -m benchmarks.peers.build --pip-args="$(PIP_ARGS)" $(ARGS)

ui: $(STAMP) ## open the dashboard of all runs on http://127.0.0.1:5000
	@mkdir -p "$(OUTPUTS)/mlflow"
	exec $(BIN)/python -m mlflow ui --backend-store-uri "sqlite:///$(abspath $(OUTPUTS))/mlflow/mlflow.db" --host 127.0.0.1 --port $(PORT) --workers 1

wheel: $(STAMP) ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove builds, caches and environments; outputs/ stays
	rm -rf $(VENV) .venv-peers build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +
