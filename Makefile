# cnntrain: make train, then make test
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all check format bench clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: .venv/done  ## Make .venv and install cnntrain into it

.venv/done: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

train: .venv/done  ## Train the default: LeNet-5 on scikit-learn's digits
	$(BIN)/cnntrain

test: .venv/done  ## Run the tests (minutes)
	$(BIN)/python -m pytest -q

test-all: .venv/done  ## Run the slow tests, too
	$(BIN)/python -m pytest -q -m 'not gpu'

check: .venv/done  ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/done  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/done  ## Images/s of cnntrain beside the bare model's, in one run (minutes)
	$(BIN)/python bench/throughput.py

clean:  ## Remove .venv and caches (outputs stay)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
