# Two commands for a newcomer: `make demo` and `make test`. CI runs `make check` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= runs/demo
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test integration check clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed --editable '.[dev]'
	@touch $@

install: $(STAMP)  ## make the virtual environment and install the project with its tools

demo: $(STAMP)  ## train the phantom hospitals with patient-level privacy and say where the report is
	@rm -rf $(DEMO_DIR)
	$(BIN)/fedrounds simulate recipe=private output_dir=$(DEMO_DIR)
	@echo "Open $(DEMO_DIR)/report.html in a browser."

test: $(STAMP)  ## run the tests, but for the long ones of a deployment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not deployment" -n auto --maxprocesses=4

integration: $(STAMP)  ## run the tests of a deployment: a server and sites as processes, over TLS
	$(BIN)/python -m pytest -m deployment

check: $(STAMP)  ## lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py

clean:  ## remove the environment and every run
	rm -rf $(VENV) runs build dist *.egg-info
