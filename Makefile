# Everything happens in .venv, with the versions of constraints.txt. PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

.PHONY: help demo test test-slow check docs format lock clean

help:
	@echo "make demo    run the quickstart study and write its report"
	@echo "make test    run the fast tests, and one study from end to end"
	@echo "make test-slow  run the other tests: clusters, faults, whole searches"
	@echo "make check   check lint, formatting, types and the layers of the packages"
	@echo "make docs    build the documentation into site/"
	@echo "make format  format the code"
	@echo "make lock    pin the newest versions that work together in constraints.txt"

demo: .venv/installed
	@$(BIN)/ngm-tune run quickstart
	@$(BIN)/ngm-tune analyze results/quickstart

test: .venv/installed
	@$(PYTEST) -m "not slow"

test-slow: .venv/installed
	@$(PYTEST) -m slow

check: .venv/installed
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: .venv/installed
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: .venv/installed
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock:
	rm -rf .venv/lock && $(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --upgrade '.[dev]'
	.venv/lock/bin/pip freeze --exclude ngm-tune > constraints.txt
	rm -rf .venv/lock

clean:
	rm -rf .venv results dist site .pytest_cache .mypy_cache .ruff_cache

# uv installs in a third of pip's time. If it is not there, it comes from the package index. pip is
# the fallback, such as for an index that only pip is configured for.
UV := $(shell command -v uv || echo $(BIN)/uv)
INSTALL := install --quiet --constraint constraints.txt --editable '.[dev]'

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing ngm-tune into .venv; the first time this takes about a minute."
	@$(PYTHON) -m venv .venv
	@[ -x "$(UV)" ] || $(BIN)/python -m pip install --quiet uv || true
	@VIRTUAL_ENV=.venv $(UV) pip $(INSTALL) || $(BIN)/python -m pip $(INSTALL)
	@touch $@
