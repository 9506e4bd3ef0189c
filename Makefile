# `make run` and `make test` are all that a fresh machine needs: Python 3.11+, git and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
export UV_PROJECT_ENVIRONMENT = $(VENV)
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup setup-dev run test lint format chaos bench bench-gateway bench-screen bench-knowledge screenshots clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Quarterdeck needs Python 3.11 or newer; $(PYTHON) is older: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

# An installed uv is used as it is; without one the clone gets its own.
INSTALLER := $(BIN)/python $(filter $(BIN)/uv,$(UV))

setup: $(INSTALLER)  ## install what running needs
	@$(UV) sync --quiet --locked --no-dev --inexact

setup-dev: $(INSTALLER)  ## install what the tests need
	@$(UV) sync --quiet --locked --inexact

run: setup  ## start everything and show the program at its work
	@$(BIN)/python -P -m core.faces.first

test: setup-dev  ## the whole test suite
	@$(BIN)/python -P -m pytest -n 3 --dist worksteal -q $(ARGS)

lint: setup-dev  ## formatting, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache

format: setup-dev  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

chaos: setup-dev  ## the long form of the fault tests
	@$(BIN)/python -P -m pytest -q -m chaos tests/chaos $(ARGS)

bench: setup-dev  ## measure, as ratios within one run; table on screen, JSON in bench/results
	@$(BIN)/python -P -m bench $(ARGS)

bench-gateway: setup-dev  ## measure the gateway and the ledger
	@$(BIN)/python -P -m bench gateway ledger $(ARGS)

bench-screen: setup-dev  ## measure the screen alone
	@$(BIN)/python -P -m bench screen $(ARGS)

bench-knowledge: setup-dev  ## measure search, index and context, and how well is found (fetches four source packages and a model once)
	@$(BIN)/python -P -m bench knowledge retrieval $(ARGS)

screenshots: setup  ## draw the pictures of the documents from the recording beside them
	@$(BIN)/python -P -m tui.pictures docs/pictures/session.jsonl docs/pictures

clean:  ## remove what the build made
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist
