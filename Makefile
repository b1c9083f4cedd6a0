# Everything happens in .venv, with the versions of constraints.txt. PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check format lock clean

help:
	@echo "make demo    run the quickstart study and write its report"
	@echo "make test    run the tests"
	@echo "make check   lint, formatting and types"
	@echo "make format  put the formatting right"
	@echo "make lock    pin the newest versions that work together in constraints.txt"

demo: .venv/installed
	@$(BIN)/ngm-tune run quickstart
	@$(BIN)/ngm-tune analyze results/quickstart

test: .venv/installed
	@$(BIN)/pytest --numprocesses 2 --dist loadfile

check: .venv/installed
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: .venv/installed
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock:
	rm -rf .venv/lock && $(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --upgrade '.[dev]'
	.venv/lock/bin/pip freeze --exclude ngm-tune > constraints.txt
	rm -rf .venv/lock

clean:
	rm -rf .venv results dist .pytest_cache .mypy_cache .ruff_cache

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing ngm-tune into .venv; the first time this takes a few minutes."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
