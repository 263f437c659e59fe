# The two commands are `make demo` and `make test`; `make` alone lists all of them.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first Python >= 3.11 that really runs: version managers put names on PATH that do not.
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(shell \
  $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help install demo demo-s3 train test lint types tests bench clean

help: ## list these commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
	  printf '  %-14s %s\n' "$$name" "$$text"; done

install: $(READY) ## make .venv with everything that the commands below need

demo: $(READY) ## convert the shipped runs, serve them, draw one sample; Ctrl-C ends it
	@$(BIN)/drawpoint demo

demo-s3: $(READY) ## the same out of a bucket: a real S3 server is started on this machine
	@$(BIN)/python tests/demo_s3.py

train: $(READY) ## train a small surrogate from files, a store and a served store, and draw docs/images/train_surrogate.png
	$(BIN)/pip install --quiet -e '.[examples]' -c constraints.txt
	$(BIN)/python examples/train_surrogate.py --figure docs/images/train_surrogate.png

test: ## check style and types, then run all tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory tests

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

tests: $(READY) ## run all tests, several at a time
	@sh .ci/system
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

bench: $(READY) ## run the benchmarks against their peers, and write docs/performance.md
	$(BIN)/pip install --quiet -e '.[bench]' -c constraints.txt
	$(BIN)/python tests/benchmarks/report.py

clean: ## remove what the commands made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamp comes last, so an install that was interrupted starts anew.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'make: no Python 3.11 or newer on PATH; name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'installing into $(VENV): a minute or two, about 2.5 GB on disk with CPU-only torch'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[dev]' -c constraints.txt
	@touch $@
