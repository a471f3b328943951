# Needs Python 3.11 or newer, make and git. Another interpreter: make PYTHON=python3.12 setup
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo app test test-slow fuzz bench lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with the pinned packages and this one

# Runs again only when the packages change. The stamp file marks a complete installation.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 setup" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	touch $@

demo: setup  ## restore a burst with the shipped checkpoint, compare it with classical methods
	$(BIN)/python scripts/demo.py

app: setup  ## serve the page on which a burst is dropped, http://127.0.0.1:7860
	$(BIN)/twostagealign app

test: setup  ## run the quick tests on all cores
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: setup  ## run the slow tests on all cores
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

fuzz: setup  ## feed damaged inputs to everything that reads files
	$(BIN)/python scripts/fuzz.py --jobs 2 --json results/fuzz/table.json

bench: setup  ## measure speed and memory; nothing else should run
	$(BIN)/python scripts/benchmark.py --json results/benchmark.json

lint: setup  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## fix style and formatting automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and all caches; results and experiments stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
