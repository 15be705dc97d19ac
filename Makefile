# Antiphon. `make serve` installs and serves; `make` alone lists the targets.

PORT   ?= 8000
# The folder of a checkpoint. Without it, antiphon-nano is served, which comes with Antiphon.
MODEL  ?=
ARGS   ?=
VENV   ?= .venv
DEVICE ?= $(if $(shell nvidia-smi -L 2>/dev/null),cuda,cpu)

PY     := $(VENV)/bin/python
CODE   := server model_executor kernels
ARM    := $(if $(filter aarch64,$(shell uname -m)),-arm64)
LOCKS  := $(wildcard lock/$(DEVICE)$(ARM).txt) $(if $(filter cpu,$(DEVICE)),lock/torch-cpu.txt)
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --no-deps
NANO   := @$(MAKE) --no-print-directory -f model_executor/antiphon_nano/Makefile
# These marks are written last, so that an interrupted installation is continued; one older than a lock is out of date.
READY  := $(VENV)/ready-$(DEVICE)
TESTED := $(VENV)/ready-dev
# The C++ kernels, which the installation builds.
NATIVE := kernels/antiphon_kernels/native

.DEFAULT_GOAL := help
.PHONY: help install serve check test test-nano lint nano nano-eval nano-polish image-test clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  PORT=8000  MODEL=folder or hub name  ARGS="more arguments"  DEVICE=cpu|cuda  PYTHON=python3.12'

# Use
install: $(READY) ## set up .venv from the hash-pinned lock

serve: $(READY) ## serve on 127.0.0.1:8000
	@exec $(VENV)/bin/antiphon serve $(if $(MODEL),--model "$(MODEL)") --port "$(PORT)" $(ARGS)

# Work on the code
check: $(TESTED) ## the quick tests: no engine, no model (ARGS="tests/server -k sse")
	$(PY) -m tests.run check $(ARGS)

test: $(TESTED) ## all tests of the product
	$(PY) -m tests.run test $(ARGS)

test-nano: $(TESTED) ## the tests of antiphon-nano's training
	$(PY) -m tests.run test-nano $(ARGS)

lint: $(TESTED) ## ruff, its formatter, mypy, import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy $(CODE)
	$(VENV)/bin/lint-imports
	PYTHONPATH=model_executor $(VENV)/bin/lint-imports --config model_executor/antiphon_nano/importlinter.toml

image-test: ## build the CPU image with buildah, run it, request speech (root, Debian)
	deploy/image_test.sh

clean: ## remove what was built and cached, .venv included
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(NATIVE)/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

# antiphon-nano, the model that is shipped
nano: $(READY) ; +$(NANO) nano ## train antiphon-nano from packages alone (hours; continues after an interruption)
nano-eval: $(TESTED) ; +$(NANO) nano-eval ## evaluate antiphon-nano through its server (ARGS="--most 20")
nano-polish: $(READY) ; +$(NANO) nano-polish ## train a trained antiphon-nano on harder examples (hours)

# Locks: lock, lock-cuda, sbom, audit. Slow proofs: bench, bench-%, canaries, chaos, conformance, coverage, cut-answers, flaky, mutants,
# realtime-siege, schemathesis, siege, soak.
include lock/lock.mk tests/proofs.mk deploy/deploy.mk

$(READY): $(LOCKS) lock/install.sh pyproject.toml $(wildcard $(NATIVE)/*.cpp $(NATIVE)/*.h)
	@lock/install.sh $(VENV) $(DEVICE)
	@echo "Installing antiphon"
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(TESTED): $(READY) lock/dev$(ARM).txt
	@echo "Installing the test and lint tools"
	@$(PIP) --require-hashes --only-binary :all: -r lock/dev$(ARM).txt
	@touch $@
