# The two commands: `make demo` shows the main job, `make test` proves it. Both set up everything they need.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check format bench clean
PYTHON ?= python3
BIN := .venv/bin
# More at once would start too many servers.
WORKERS := --numprocesses auto --maxprocesses 4 --dist worksteal

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: .venv/installed  ## a virtual environment in .venv with everything pinned in constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory debian-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip --quiet --disable-pip-version-check install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Debian and Ubuntu keep Python's own venv module in a package of its own.
.PHONY: debian-venv
debian-venv:
	@echo "python3-venv is missing; installing it"
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	else sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv; fi

demo: install  ## the main job, end to end, in a temporary directory
	@$(BIN)/penstock demo

test: install  ## the tests, without the slow ones
	$(BIN)/pytest $(WORKERS)

test-slow: install  ## the tests that take longer: kill -9, the demo, the examples
	$(BIN)/pytest $(WORKERS) -m slow --timeout 600

check: install  ## style, types, layers, dead code, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples/pump-loop  # apart, because every example is called run.py
	$(BIN)/mypy examples/bearing-diagnosis
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python docs/generate.py --check

format: install  ## let ruff lay out the code and regenerate the reference
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/generate.py

bench: install  ## the figures in the docs: ratios, side by side in one run
	$(BIN)/python -m benchmarks

clean:  ## remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
