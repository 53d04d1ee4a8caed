# The two commands of the README, and what they are made of.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOAK   ?= tests

.PHONY: serve setup setup-dev test lint bench soak lock clean help

help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

serve: $(VENV)/.run   ## set up (once) and run pocketfleet
	@exec $(BIN)/pocketfleet serve

setup: $(VENV)/.dev   ## .venv with everything, tests and tools included

test: $(VENV)/.dev    ## set up (once) and run the whole suite
	@exec ./scripts/test

lint: $(VENV)/.dev    ## formatting, rules, types, layers
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev   ## every figure beside what it compares with
	@exec $(BIN)/python -m bench

soak: $(VENV)/.dev    ## all that takes too long for the suite, hours; SOAK=tests/soak for one of everything at once
	@exec $(BIN)/pytest $(SOAK) -m soak --timeout=0 -s

lock: $(VENV)/.dev    ## renew requirements/*.txt from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --group build pyproject.toml --extra postgresql -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --group dev pyproject.toml --extra postgresql -o requirements/dev.txt

clean:          ## remove what setup made (never your instances)
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pocketfleet needs Python 3.11 or newer; try: make serve PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Setting up (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Setting up (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@ $(VENV)/.run
