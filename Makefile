# Every target does its own set-up. Python 3.11 or newer is all that must be there: `make PYTHON=python3.12 test` to choose.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VLLM   := .venv-vllm
DOCS   := .venv-docs
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test test-again test-vllm bench-vllm test-fast test-slow soak lint lean bench fuzz browser setup docs clean
.DEFAULT_GOAL := help

help:
	@echo "make train      learn to prove theorems, on real Lean, under 40 minutes; then look at runs/demonstration"
	@echo "make test       the tests against real Lean"
	@echo "make test-fast  what needs no Lean, under a minute"
	@echo "make test-slow  the long versions of tests"
	@echo "make test-vllm  real vLLM on CPU: in this process, as a server, a round of learning through it"
	@echo "make soak       50,000 steps on one Lean process"
	@echo "make fuzz       mutated texts against the audit, for SECONDS=60; what fails is kept in fuzz-failures"
	@echo "make browser    a Chromium for the tests of pages, where this is root on Debian"
	@echo "make lint       ruff, pyright and the import contracts"
	@echo "make bench      measure the proof server and the search"
	@echo "make lean       only set up Lean"
	@echo "make docs       the documentation site, in build/site"

# torch first and exactly: any looser request may bring gigabytes of CUDA.
$(VENV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "turnstile: $(PYTHON) is older than Python 3.11: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "turnstile: setting up $(VENV) (a few minutes, once)" >&2
	@$(BIN)/pip install --quiet "torch==2.13.0"
	@$(BIN)/pip install --quiet --editable ".[test,lint]"
	@touch $@

# vLLM's CPU build wants numpy and others in versions of its own, and none of what its own list would bring besides: torch first
# and exactly, then exactly this list, then the build and this project without their dependencies.
$(VLLM)/.done: tests/vllm/requirements.txt pyproject.toml
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	@echo "turnstile: setting up $(VLLM) (a few minutes, once)" >&2
	@$(VLLM)/bin/pip install --quiet "torch==2.13.0"
	@$(VLLM)/bin/pip install --quiet --no-deps --requirement tests/vllm/requirements.txt
	@$(VLLM)/bin/pip install --quiet --no-deps --editable .
	@touch $@

test-vllm: $(VLLM)/.done
	@$(VLLM)/bin/python -m prover.lean.setup
	@OMP_WAIT_POLICY=passive $(VLLM)/bin/python -m pytest -q tests/vllm --ignore tests/vllm/test_tensor_parallel.py
	@OMP_WAIT_POLICY=passive $(VLLM)/bin/python -m pytest -q tests/vllm/test_tensor_parallel.py

bench-vllm: $(VLLM)/.done
	@$(VLLM)/bin/turnstile bench model --json

lean: $(VENV)/.done
	@$(BIN)/python -m prover.lean.setup

setup: lean

train: lean
	@$(BIN)/turnstile train curricula/stages/demonstration.toml

test: lean
	@$(BIN)/python -X faulthandler -m pytest -q

# What failed in the last `make test`, once more: a test on real processes may fail on a machine that is busy with other things.
# All of it, where no test failed and the process itself crashed.
test-again: lean
	@$(BIN)/python -X faulthandler -m pytest -q --last-failed --last-failed-no-failures all

test-fast: $(VENV)/.done
	@$(BIN)/python -m pytest -q -m "not lean and not ray and not slow"

test-slow: lean
	@$(BIN)/python -m pytest -q -m slow

# SEED=7 does a run again, SEED=7:31 one input of it.
SECONDS ?= 60
fuzz: lean
	@nice $(BIN)/python -m tests.exploits.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

soak: lean
	@$(BIN)/python -m tests.lean.soak

# Tests of pages need a Chromium. They are skipped without one: this may fail, and nothing else depends on it.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  { echo "turnstile: no Chromium, so the tests of pages will be skipped: install Debian's chromium package" >&2; exit 1; }

lint: $(VENV)/.done
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "turnstile: run ruff format" >&2; exit 1; }
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: lean
	@$(BIN)/turnstile bench lean
	@$(BIN)/turnstile bench search

# The site needs nothing of the project but its pages: an environment of its own, with the versions of pyproject.toml.
$(DOCS)/.done: pyproject.toml
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"]))' \
	  > $(DOCS)/requirements.txt
	@$(DOCS)/bin/pip install --quiet --requirement $(DOCS)/requirements.txt
	@touch $@

docs: $(DOCS)/.done
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "turnstile: open build/site/index.html"

clean:
	rm -rf $(VENV) $(VLLM) $(DOCS) build/site .pytest_cache .ruff_cache .hypothesis
