# Two commands from a clone: `make demo` and `make test`. Each installs what it needs into .venv.

PYTHON ?= python3
VENV ?= .venv
# Two workers, each with one thread (tests/conftest.py): that is what two cores carry.
TESTFLAGS ?= -n 2 --dist loadfile
NOTEBOOKS ?= $(wildcard notebooks/*.ipynb)

BIN := $(VENV)/bin
PINS := $(VENV)/pins.txt
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast engines lint format notebooks docs bench release-check clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(VENV)/.run ## train on simulated basketball, forecast, write a picture and an animation
	@$(BIN)/hierforecast demo $(DEMOFLAGS)

test: $(VENV)/.dev ## run every test
	@$(BIN)/python -m pytest $(TESTFLAGS)

test-fast: $(VENV)/.dev ## run the tests that took less than a third of a second when they last ran
	@$(BIN)/python -m pytest $(TESTFLAGS) --fast

engines: $(VENV)/.dev ## install Ray and Dask, and Spark where Java is, so that `make test` tests them too
	@$(PIP) -qq -c $(PINS) -e ".[dask,ray]"
	@if command -v java > /dev/null; then $(PIP) -qq -c $(PINS) -e ".[spark]"; fi

lint: $(VENV)/.dev ## check layout, common mistakes and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev ## mend the layout and what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

notebooks: $(VENV)/.dev ## run the notebooks again and keep what they show
	@$(BIN)/python notebooks/execute.py $(NOTEBOOKS)

docs: $(VENV)/.docs ## build the site into docs/_build/html, without network; warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.run ## list the benchmarks; `python -m benchmarks NAME` runs one
	@$(BIN)/python -m benchmarks

release-check: ## build sdist and wheel, install the wheel alone, test it: RELEASEFLAGS="--oldest" for old versions
	@$(PYTHON) tests/release.py $(RELEASEFLAGS)

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) docs/_build docs/repository .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# A torch that is there already, for a GPU perhaps, is kept: its pin is left out of what follows.
$(PINS): constraints.txt | $(BIN)/python
	@if ! $(BIN)/python -c 'import torch' 2> /dev/null; then \
		echo "installing torch into $(VENV)"; $(PIP) -c constraints.txt "$$(grep '^torch==' constraints.txt)"; \
	fi
	@grep -v '^torch==' constraints.txt > $@

$(VENV)/.run: pyproject.toml $(PINS)
	@echo "installing hierforecast into $(VENV) (a few minutes)"
	@$(PIP) -qq -c $(PINS) -e .
	@touch $@

$(VENV)/.docs: pyproject.toml $(PINS)
	@echo "installing hierforecast[docs] into $(VENV)"
	@$(PIP) -qq -c $(PINS) -e ".[docs]"
	@touch $@

# The development set holds the other one, so the demo need not install after it.
$(VENV)/.dev: pyproject.toml $(PINS)
	@echo "installing hierforecast[dev] into $(VENV) (a few minutes)"
	@$(PIP) -qq -c $(PINS) -e ".[dev]"
	@touch $@ $(VENV)/.run
