# Each target sets itself up in .venv; a machine needs only Python 3.11 or later, and make.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help demo test check docs bench clean

help:
	@echo "make demo    run the example application (PORT=8000)"
	@echo "make test    everything that must hold: lint, types, documentation, tests"
	@echo "make check   lint and types only"
	@echo "make docs    build the documentation into site/"
	@echo "make bench   measure, against the bare framework and against the rival"
	@echo "make clean   remove the environment, the demo's data and everything that was built"

demo: $(VENV)/.demo
	$(BIN)/python -m examples.notes --port $(PORT) --data demo-data

test: check docs
	$(BIN)/python -m pytest --numprocesses 2

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	$(INSTALL) --group bench
	$(BIN)/python benchmarks/caches.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/noisy.py
	$(BIN)/python benchmarks/postgres.py

clean:
	rm -rf $(VENV) demo-data data site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.demo: $(VENV)/.pip pyproject.toml
	$(INSTALL) --editable . --group demo
	@touch $@

$(READY): $(VENV)/.pip pyproject.toml
	$(INSTALL) --editable . --group dev
	@touch $@

$(VENV)/.pip: constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; call: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	@touch $@
