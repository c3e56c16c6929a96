# cnntrain: make train, then make test
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all soak check format bench bench-gpu bench-peers bench-folders bench-start bench-memory bench-checkpoint bench-models models clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .venv/done  ## Make .venv and install cnntrain into it

.venv/done: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

train: .venv/done  ## Train the default: LeNet-5 on scikit-learn's digits
	$(BIN)/cnntrain

test: .venv/done  ## Run the tests, in as many processes as there are cores (minutes)
	$(BIN)/python -m pytest -q -n auto --maxprocesses=8

test-all: .venv/done  ## Run the slow tests, too
	$(BIN)/python -m pytest -q -n auto --maxprocesses=8 -m 'not gpu'

soak: .venv/done  ## 5,000 SIGKILLs, each run resumed to its bit-identical end; prints its counts (half an hour; ARGS="--minutes 5 --seed 7")
	$(BIN)/python tests/faults/soak.py $(ARGS)

check: .venv/done  ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/done  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/done  ## Images/s of cnntrain beside the bare model's, in one run (minutes)
	$(BIN)/python bench/throughput.py

bench-gpu: .venv/done  ## The same on one GPU: resnet18, bf16, compiled (minutes)
	$(BIN)/python bench/gpu.py

bench-peers: bench/peers/.venv/done  ## Images/s beside Lightning, Keras, timm and a hand loop (20 minutes)
	bench/peers/.venv/bin/python bench/peers/compare.py $(ARGS)

bench-folders: .venv/done  ## Scan, decode, train: folders of 1,000 to 100,000 JPEGs, time and memory each (15 minutes)
	$(BIN)/python bench/folders.py $(ARGS)

bench-start: .venv/done  ## Help, errors, the first step, a sweep's jobs: seconds beside their targets (5 minutes)
	$(BIN)/python bench/start.py $(ARGS)

bench-memory: .venv/done  ## The most memory of a run, beside the bare model's and the decoded set (minutes)
	$(BIN)/python bench/memory.py

bench-checkpoint: .venv/done  ## What saving costs: share of a run's time, beside torch.save + fsync, memory (5 minutes)
	$(BIN)/python bench/checkpoint.py $(ARGS)

bench-models: .venv/done  ## Every network beside torchvision's: forward and backward (20 minutes; ARGS="--only densenet")
	$(BIN)/python bench/models.py $(ARGS)

models: .venv/done  ## Write docs/models.md: every network's paper, parameters, multiply-adds, smallest image (minutes)
	$(BIN)/python tests/model/catalogue.py

bench/peers/.venv/done: pyproject.toml bench/peers/requirements.txt
	$(PYTHON) -m venv bench/peers/.venv
	bench/peers/.venv/bin/pip install --quiet --upgrade pip
	bench/peers/.venv/bin/pip install --quiet --editable . --requirement bench/peers/requirements.txt
	@touch $@

clean:  ## Remove .venv and caches (outputs stay)
	rm -rf .venv bench/peers/.venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
