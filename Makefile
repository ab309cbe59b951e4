PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := report,demo,tables,hub,track,search,cluster,test

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick check lint types bench install clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1|/' | column -t -s '|'

install: $(VENV)/.installed  ## make .venv with the project, every extra and pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: install  ## ten small networks teach a smaller one; table, verdict and page in runs/demo
	$(BIN)/limbeck demo --out runs/demo --overwrite

test: install  ## every test
	$(BIN)/python -m pytest -n auto --dist loadfile

test-quick: install  ## every test but the slow ones
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow'

lint: install  ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## mypy, strict
	$(BIN)/mypy

check: lint types test  ## lint, types and tests

bench: install  ## speed against the leanest hand-written loop; writes results/*.json
	$(BIN)/python benchmarks/epoch.py

clean:  ## remove .venv, caches and runs
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
