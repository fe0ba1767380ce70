# Each of these works alone on a fresh checkout, with Python 3.11 to 3.13 and make:
#   demo   a study of made-up families, whole (SIZE=100k)       test   the test suite, but what is slow
#   check  format, lint, types, imports, definitions           slow   what is slow: kills, whole demos, builds
#   serve  the service on this machine                         bench  the benchmarks
#   roles  the three roles on this machine, apart              docs   docs/cli.md from the command line
#   fmt    format everything                                   lock   renew requirements.lock
#   clean  start afresh

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
SIZE ?=
BIN := .venv/bin
# Folders too: theirs is the time that changes when a definition goes away.
PROTOS := $(shell find proto -name '*.proto' -o -type d)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: demo test slow check bench serve roles docs lock fmt clean breaking

demo: .venv/installed
	$(BIN)/python deploy/demo.py $(if $(SIZE),--families $(SIZE))

test: MARKED := not slow
slow: MARKED := slow
test slow: .venv/installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "$(MARKED)" $(ARGS)

check: .venv/installed breaking
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

# The definitions are compared with those of the main branch, as origin has it or as it is here.
breaking: .venv/installed
	@for branch in origin/main main; do \
	  if git cat-file -e "$$branch:proto" 2>/dev/null; then \
	    echo "buf breaking, against $$branch"; \
	    exec $(BIN)/buf breaking --against "$$(git rev-parse --git-common-dir)#format=git,ref=$$(git rev-parse $$branch)"; \
	  fi; \
	done; \
	echo "buf breaking: no main branch with definitions to compare with"

bench: .venv/installed
	$(BIN)/python benchmarks/linkage.py

serve: .venv/installed
	$(BIN)/python server.py

roles: .venv/installed
	$(BIN)/python deploy/roles.py

docs: .venv/installed
	@mkdir -p docs
	$(BIN)/typer linker.cli utils docs --name kinlink --output docs/cli.md

lock: .venv/locked
	$(BIN)/uv --no-config pip compile pyproject.toml --group dev \
	  --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --upgrade \
	  --no-emit-index-url --no-build --custom-compile-command "make lock" --quiet --output-file requirements.lock

fmt: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

clean:
	rm -rf .venv build dist linker/v1 pseudonym/v1 .hypothesis .*_cache
	find linker pseudonym -name '*.nb[ci]' -delete  # compiled kernels do not notice that one they call has changed

# Two stamps: what the lock pins, and the project itself with the modules generated from proto/.
.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Kinlink needs Python 3.11, 3.12 or 3.13: say which with make PYTHON=..." >&2; exit 1; }
	@echo "Installing what is needed into .venv: some minutes, once"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --no-deps --require-hashes --requirement requirements.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml hatch_build.py $(PROTOS)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/python -m linker.warm
	@touch $@
