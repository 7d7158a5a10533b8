# The two commands: `make demo` shows the main job, `make test` proves it. Both set up everything they need.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all compare check format bench clean
PYTHON ?= python3
BIN := .venv/bin
# Many tests wait for a server or a process, so one worker more than there are cores; beyond four, servers get in each
# other's way.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal
# An image may set this. Without cached bytecode every process compiles what it imports: Feast costs 12 s, not 4.
unexport PYTHONDONTWRITEBYTECODE
# Without compiling to bytecode: `make check` and the tests import half of it at most, and cache what they import.
UV := $(BIN)/uv --quiet pip install --python $(BIN)/python --constraint constraints.txt

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: .venv/installed  ## a virtual environment in .venv with everything pinned in constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory debian-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip --quiet --disable-pip-version-check install --constraint constraints.txt uv
	$(UV) --editable '.[dev]'
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
	$(PYTEST)

test-slow: install  ## the tests that take longer: kill -9, the demo, the examples
	$(PYTEST) -m slow

test-all: install  ## both at once, which is faster than one after the other
	$(PYTEST) -m 'slow or not slow' --durations 25

compare: install  ## the features against tsfel and tsfresh, and the example predict-failure; installs what they need
	$(UV) --editable '.[dev,compare]'
	$(BIN)/pytest tests/compare

check: install  ## style, types, layers, dead code, docs; side by side
	@$(MAKE) --no-print-directory --jobs --output-sync=target check-style check-types check-layers check-dead check-docs

.PHONY: check-style check-types check-layers check-dead check-docs
check-style:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types:
	$(BIN)/mypy
	$(BIN)/mypy examples/pump-loop  # apart, because every example is called run.py
	$(BIN)/mypy examples/bearing-diagnosis
	$(BIN)/mypy examples/predict-failure

check-layers:
	$(BIN)/lint-imports

check-dead:
	$(BIN)/vulture

check-docs:
	$(BIN)/python -m docs.generate --check

format: install  ## let ruff format the code, and generate the reference and the page of benchmarks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m docs.generate

bench: install  ## measure every figure of docs/benchmarks.md; takes an hour, on a machine that does nothing else
	$(UV) --editable '.[dev,compare]'
	$(BIN)/python -m benchmarks
	$(BIN)/python -m docs.generate

clean:  ## remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
