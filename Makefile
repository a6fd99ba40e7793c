# Needs only Python 3.11 and make. Everything is installed into .venv from the pins in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PICTURE := build/llama3-70b-h100.png

.PHONY: help demo test validate lint bench browser clean distclean

help:
	@echo "make demo   plan llama3-70b on 64 H100: ranking and a picture"
	@echo "make test   lint, types, import contract, tests"
	@echo "make validate  real torch.distributed runs on this machine (long)"
	@echo "make bench  layouts and events per second, search times"
	@echo "make browser  traces in Perfetto and in our page (needs Chromium)"
	@echo "make lint   lint, types, import contract only"
	@echo "make clean  remove caches and build output (distclean: .venv too)"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

# torch first and by its exact version: left to the resolver, a build with CUDA libraries may be chosen.
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[test,lint]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime
	@mkdir -p $(dir $(PICTURE))
	$(BIN)/plan search examples/llama3-70b-h100.yaml --plot $(PICTURE)

# A file's tests share runs and traces, so each file belongs to one worker.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

validate: $(VENV)/.test
	$(BIN)/plan validate structure --workers 2
	$(BIN)/plan validate torch
	$(BIN)/plan validate sharding --random 2

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only -q

$(VENV)/.browser: $(VENV)/.test
	$(PIP) --editable '.[browser]'
	@touch $@

browser: $(VENV)/.browser
	$(BIN)/python -m pytest tests/browser/check_viewer.py tests/browser/check_perfetto.py -q

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find planner tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
