# Everything is made here: the virtual environment, the server, the tests, the benchmarks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup run test lint bench bench-cluster soak rollout clean

setup: $(VENV)/.made

$(VENV)/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test,lint]'
	touch $@

run: setup
	$(BIN)/kdns -conf zones/Corefile

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.bench

bench-cluster: setup
	$(BIN)/python -m benchmarks.control_plane

soak: setup
	$(BIN)/python -m benchmarks.soak

rollout: setup
	$(BIN)/python -m benchmarks.rollout

clean:
	rm -rf $(VENV)
