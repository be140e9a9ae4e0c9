# Two commands for a fresh machine with Python 3.11, git, make and a compiler: `make demo` and `make test`.
# Everything they install goes into .venv and .nox here; what the demo writes goes below KTRDR_HOME.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# uv does not read pip's configuration: pass pip's find-links on, where a CPU build of torch may lie.
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
ifeq ($(strip $(UV_FIND_LINKS)),)
unexport UV_FIND_LINKS
endif
# Do not link into, or read from, whatever else this machine's user has set up.
unexport VIRTUAL_ENV PYTHONPATH

.PHONY: help demo test dev clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] >= (3, 11), "KTRDR needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(VENV)/.demo: $(BIN)/uv pyproject.toml $(wildcard packages/*/pyproject.toml)
	$(BIN)/uv sync --quiet --inexact --package ktrdr-ml-torch --no-default-groups
	@touch $@

$(VENV)/.nox: $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python 'nox[uv]>=2025.5'
	@touch $@

demo: $(VENV)/.demo  ## train and backtest a strategy on a year of real data
	$(BIN)/ktrdr demo $(ARGS)

test: $(VENV)/.nox  ## run everything CI runs: every nox session, each in its own environment
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox --non-interactive $(ARGS)

dev: $(BIN)/uv  ## one environment with every distribution, editable, and all developer tools
	$(BIN)/uv sync --inexact --all-packages --all-groups

clean:  ## remove what the other targets made
	rm -rf $(VENV) .nox dist
