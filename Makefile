# `make demo` and `make test` work on a fresh machine with Python 3.11, git, make and a compiler.
# Everything that the targets install goes into .venv and .nox here; what the demo writes goes below KTRDR_HOME.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PKG ?= core
STARTED := $(shell date +%s)

# uv does not read pip's configuration: pass pip's find-links on, where a CPU build of torch may lie.
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
ifeq ($(strip $(UV_FIND_LINKS)),)
unexport UV_FIND_LINKS
endif
# Do not link into, or read from, whatever else this machine's user has set up.
unexport VIRTUAL_ENV PYTHONPATH

# Sessions side by side, every one of them; then, last of all, what was not run and why.
NOX := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox --non-interactive --parallel auto --no-stop-on-first-error --report .nox/report.json
RESULTS := $(BIN)/python tools/results.py
define sessions
@rm -rf .nox/results .nox/report.json && mkdir -p .nox
@$(NOX) $(or $(ARGS),--tags $(1)); status=$$?; test ! -f .nox/report.json || $(RESULTS) $(2); exit $$status
endef

.PHONY: help demo test test-all ci check dev clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] >= (3, 11), "KTRDR needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(VENV)/.demo: $(BIN)/uv pyproject.toml $(wildcard packages/*/pyproject.toml)
	$(BIN)/uv sync --quiet --inexact --package ktrdr-ml-torch --no-default-groups
	@touch $@

$(VENV)/.nox: $(BIN)/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group nox
	@touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml $(wildcard packages/*/pyproject.toml)
	$(BIN)/uv sync --inexact --all-packages --all-groups
	@touch $@

demo: $(VENV)/.demo  ## run a strategy on real prices, and on a market whose edge is known
	$(BIN)/ktrdr demo $(ARGS)

check: $(VENV)/.dev  ## the inner loop of one distribution: style, types, quick tests; PKG=core, ml-torch, ml-sklearn, api, worker
	$(BIN)/ruff check packages/ktrdr-$(PKG)
	$(BIN)/ruff format --check packages/ktrdr-$(PKG)
	$(BIN)/lint-imports
	$(BIN)/mypy packages/ktrdr-$(PKG)/src
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow" packages/ktrdr-$(PKG)/tests $(ARGS)

test: $(VENV)/.nox  ## the first circle: what a contributor runs, side by side, each session in its own environment
	$(call sessions,first)

test-all: $(VENV)/.nox  ## the second circle: clusters, images, documentation, slow tests, speed
	$(call sessions,second)

ci: $(VENV)/.nox  ## both circles in one run, with the minutes it took beside the budget
	$(call sessions,first second,--budget $$(( $$(date +%s) - $(STARTED) )))

dev: $(VENV)/.dev  ## one environment with every distribution, editable, and all developer tools

clean:  ## remove what the other targets made
	rm -rf $(VENV) .nox dist
