# Each target does its own set-up and needs only Python 3.11 or newer; `make PYTHON=python3.12 test` chooses another Python.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VLLM   := .venv-vllm
DOCS   := .venv-docs
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test test-again test-vllm vllm-together test-gpu bench-vllm test-fast test-slow soak lint lean bench fuzz browser setup environments docs clean
.DEFAULT_GOAL := help

help:
	@echo "make lean       set up .venv and Lean, and nothing else"
	@echo "make train      train a small prover on real Lean in minutes; the results are in runs/worlds"
	@echo "make test       the tests, against real Lean; WORKERS=4 in four processes, WORKERS=0 in one"
	@echo "make test-again the tests that failed in the last make test"
	@echo "make test-fast  the tests that need no Lean, in about two minutes"
	@echo "make test-slow  the long versions of tests"
	@echo "make test-vllm  the tests of vLLM on the CPU, in .venv-vllm"
	@echo "make test-gpu   the learner on a GPU: tests and figures, in under 8 minutes"
	@echo "make fuzz       mutated texts against the audit, for SECONDS=60; failures are kept in fuzz-failures"
	@echo "make soak       50,000 steps on one Lean process"
	@echo "make browser    install Chromium for the tests of HTML pages (Debian, as root)"
	@echo "make lint       ruff, pyright and the import contracts"
	@echo "make bench      measure the proof server and the search"
	@echo "make bench-vllm measure vLLM on the CPU, in .venv-vllm"
	@echo "make docs       build the documentation site in build/site"
	@echo "make clean      remove the virtual environments and build files"
	@echo
	@echo "Each target sets up what it needs. make PYTHON=python3.12 TARGET chooses another Python (3.11 or newer)."

# An exact request for torch first: a looser one may download gigabytes of CUDA.
$(VENV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "turnstile: $(PYTHON) is older than Python 3.11; try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "turnstile: setting up $(VENV) (a few minutes, once)" >&2
	@$(BIN)/pip install --quiet "torch==2.13.0"
	@$(BIN)/pip install --quiet --editable ".[test,lint]"
	@touch $@

# vLLM's CPU build needs its own versions of numpy and others, but not the rest of its dependency list. Install torch first, then
# exactly the packages of requirements.txt and this project, without their dependencies.
$(VLLM)/.done: tests/vllm/requirements.txt pyproject.toml
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	@echo "turnstile: setting up $(VLLM) (a few minutes, once)" >&2
	@$(VLLM)/bin/pip install --quiet "torch==2.13.0"
	@$(VLLM)/bin/pip install --quiet --no-deps --requirement tests/vllm/requirements.txt
	@$(VLLM)/bin/pip install --quiet --no-deps --editable .
	@touch $@

test-gpu:  # on a machine whose Python has torch for its GPU; sets nothing up
	@python -m pytest -q -p no:cacheprovider tests/gpu
	@python -m prover.cli bench learner --device cuda --json

# Files with an engine of their own run in a process of their own: a process holds one engine of vLLM at a time. Two processes run at once.
VLLM_ALONE := test_adapters test_tensor_parallel
VLLM_TEST := OMP_WAIT_POLICY=passive $(VLLM)/bin/python -m pytest -q
test-vllm: $(VLLM)/.done
	@$(VLLM)/bin/python -m prover.lean.setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target vllm-together $(VLLM_ALONE:%=vllm-%)

vllm-together:
	@$(VLLM_TEST) tests/vllm $(VLLM_ALONE:%=--ignore tests/vllm/%.py)

vllm-%:
	@$(VLLM_TEST) tests/vllm/$*.py

bench-vllm: $(VLLM)/.done
	@$(VLLM)/bin/turnstile bench model --json

lean: $(VENV)/.done
	@$(BIN)/python -m prover.lean.setup

setup: lean

environments: $(VENV)/.done $(VLLM)/.done

train: lean
	@$(BIN)/turnstile train curricula/stages/worlds.toml

# Two processes share the tests, or one runs them all on a machine with one core. tests/conftest.py orders the files, so xdist must not.
WORKERS ?= $(shell test "$$(getconf _NPROCESSORS_ONLN)" -gt 1 && echo 2 || echo 0)
test: lean
	@$(BIN)/python -X faulthandler -m pytest -q --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Repeats, one by one, the tests that failed in the last `make test`: a test on real processes may fail on a busy machine. Repeats
# all tests if none failed and the process itself crashed.
test-again: lean
	@$(BIN)/python -X faulthandler -m pytest -q --last-failed --last-failed-no-failures all

test-fast: $(VENV)/.done
	@$(BIN)/python -m pytest -q -m "not lean and not ray and not slow" --numprocesses $(WORKERS) --dist loadfile

test-slow: lean
	@$(BIN)/python -m pytest -q -m slow

# SEED=7 repeats a run, SEED=7:31 one input of it.
SECONDS ?= 60
fuzz: lean
	@nice $(BIN)/python -m tests.exploits.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

soak: lean
	@$(BIN)/python -m tests.lean.soak

# Tests of HTML pages need Chromium and are skipped without it, so no other target depends on this one.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  { echo "turnstile: no Chromium found, so the tests of HTML pages will be skipped; install Debian's chromium package" >&2; exit 1; }

lint: $(VENV)/.done
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "turnstile: files are not formatted; run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: lean
	@$(BIN)/turnstile bench lean
	@$(BIN)/turnstile bench search

# The site reads the pages and the source, and needs none of the project's dependencies: an environment of its own.
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
