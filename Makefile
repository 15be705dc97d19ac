# Antiphon. `make serve` is all that a newcomer needs; `make` alone says what else there is.

PORT   ?= 8000
# A checkpoint's folder; antiphon-nano, which comes with it, where none is named.
MODEL  ?=
ARGS   ?=
VENV   ?= .venv
DEVICE ?= $(if $(shell nvidia-smi -L 2>/dev/null),cuda,cpu)

PY     := $(VENV)/bin/python
CODE   := server model_executor kernels
LOCKS  := $(wildcard lock/$(DEVICE).txt) $(if $(filter cpu,$(DEVICE)),lock/torch-cpu.txt)
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --no-deps
# antiphon-nano: its data, checkpoints and report; the environment of its teacher and judge.
NANO   := .cache/nano
TAUGHT := .cache/nano-venv/bin/python
TAUGHT_READY := .cache/nano-venv/ready
LEARN  := PYTHONPATH=model_executor OMP_NUM_THREADS=1 nice -n 19
JUDGE  := $(LEARN) $(TAUGHT) -m antiphon_nano.judge $(NANO)/report.json
GATE   := $(LEARN) $(PY) -m antiphon_nano.gates $(NANO)/report.json
THINK  := $(LEARN) $(PY) -u -m antiphon_nano.thinker
# The checkpoint gets its name when it is whole. Made anew behind an examination, its card tells the figures.
EXPORT := rm -rf $(NANO)/antiphon-nano.partial && \
          $(LEARN) $(PY) -m antiphon_nano.export $(NANO) $(NANO)/antiphon-nano.partial && \
          rm -rf $(NANO)/antiphon-nano && mv $(NANO)/antiphon-nano.partial $(NANO)/antiphon-nano
# Written last, so an interrupted set-up is taken up again; older than a lock, it is out of date.
READY  := $(VENV)/ready-$(DEVICE)
TESTED := $(VENV)/ready-dev

.DEFAULT_GOAL := help
.PHONY: help install serve check test test-nano flaky coverage lint lock sbom audit cut-answers chaos siege mutants soak canaries nano nano-polish nano-eval nano-readers image-test clean
.DELETE_ON_ERROR:

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  PORT=8000  MODEL=path of a checkpoint  ARGS="more arguments"  DEVICE=cpu|cuda  PYTHON=python3.12'

install: $(READY) ## set up .venv from the hash-pinned lock

serve: $(READY) ## serve on 127.0.0.1:8000
	@exec $(VENV)/bin/antiphon serve $(if $(MODEL),--model "$(MODEL)") --port "$(PORT)" $(ARGS)

check: $(TESTED) ## the quick tests: no engine, no model (ARGS="tests/server -k sse")
	$(PY) -m tests.run check $(ARGS)

test: $(TESTED) ## all tests of the product
	$(PY) -m tests.run test $(ARGS)

test-nano: $(TESTED) ## the tests of antiphon-nano's training
	$(PY) -m tests.run test-nano $(ARGS)

flaky: $(TESTED) ## repeat the tests of engines, processes and clocks 20 times on a busy machine (hours)
	$(PY) -m tests.run flaky $(ARGS)

coverage: $(TESTED) ## line coverage of server and executor by the tests without an engine
	$(PY) -m tests.run coverage $(ARGS)

lint: $(TESTED) ## ruff, its formatter, mypy, import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy $(CODE)
	$(VENV)/bin/lint-imports

lock: .cache/lock-tools/bin/uv ## write the locks anew (UPGRADE=1: newer releases)
	.cache/lock-tools/bin/python lock/update.py $(if $(UPGRADE),--upgrade)

sbom: .cache/audit-tools/ready ## list what the locks install, as CycloneDX (build/sbom-cpu.json, ...)
	@mkdir -p build
	for lock in cpu cuda; do .cache/audit-tools/bin/cyclonedx-py requirements lock/$$lock.txt \
	  --output-reproducible --output-file build/sbom-$$lock.json || exit 1; done

audit: .cache/audit-tools/ready ## look the locked packages up among known vulnerabilities
	.cache/audit-tools/bin/python lock/audit.py $(wildcard lock/*.txt)

bench-%: $(TESTED) ## time something: bench-vocoder, ... (ARGS=--help)
	PYTHONPATH=model_executor $(PY) -m tests.bench.bench_$* $(ARGS)

cut-answers: $(TESTED) ## cut 200 spoken answers of antiphon-nano at random: none may speak on (half an hour)
	PYTHONPATH=model_executor $(PY) -m tests.bench.bench_cut_answers $(ARGS)

chaos: $(TESTED) ## kill clients and engines, read slowly, drain behind nginx (half an hour)
	$(PY) -m tests.chaos $(ARGS)

siege: $(TESTED) ## hostile clients: mutated requests, media bombs, hang-ups, trailers, grammars (a quarter of an hour)
	$(PY) -m tests.chaos.siege $(ARGS)

mutants: $(TESTED) ## take out each check of HTTP's limits: does a test fail (half an hour; ARGS="limits framing")
	nice $(PY) -m tests.mutants $(ARGS)

soak: $(TESTED) ## a mixed load for 15 minutes: does anything grow (ARGS="--minutes 60")
	$(PY) -m tests.chaos.soak $(ARGS)

canaries: $(TESTED) ## 10,000 short streams of each family in a few slots, 200 in the engines: is one ever another
	ANTIPHON_CANARIES=10000 $(PY) -m pytest tests/talker/test_canaries.py $(ARGS)
	ANTIPHON_ENGINE_CANARIES=200 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 $(PY) -m pytest \
	  tests/parity/talker/test_canaries.py tests/parity/turns/test_canaries.py $(ARGS)

nano: $(NANO)/antiphon-nano ## train antiphon-nano from packages alone (hours; goes on where it stopped)

nano-eval: $(NANO)/antiphon-nano | $(TESTED) $(TAUGHT_READY) ## examine antiphon-nano through its server (ARGS="--most 20")
	PYTHONPATH=model_executor $(PY) -u -m antiphon_nano.served.evaluation $(NANO) $(NANO)/antiphon-nano $(ARGS)
	$(LEARN) $(TAUGHT) -m antiphon_nano.teacher.rereading $(NANO)/judged/served-answers $(NANO)/judged/teacher-answers
	$(JUDGE) --most 200 --note ", all" $(NANO)/speech/natural-heart
	$(JUDGE) --most 200 $(addprefix $(NANO)/judged/,teacher-answers $(addprefix served-,answers read deep unseen closed))
	$(LEARN) $(PY) -m antiphon_nano.served.heard_words $(NANO)/report.json $(NANO)/judged/served-closed
	$(LEARN) $(PY) -m antiphon_nano.inspection $(NANO)/report.json \
	  $(NANO)/speech/natural-heart $(NANO)/judged/served-read $(NANO)/spectra.png
	$(EXPORT)
	$(LEARN) $(PY) -m antiphon_nano.results $(NANO)/report.json
	$(GATE) served

image-test: ## build the CPU image with buildah, run it, let it speak (root, Debian)
	deploy/image_test.sh

clean: ## remove what was built and cached, .venv included
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): $(LOCKS) lock/install.sh pyproject.toml
	@lock/install.sh $(VENV) $(DEVICE)
	@echo "Installing antiphon"
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(TESTED): $(READY) lock/dev.txt
	@echo "Installing the test and lint tools"
	@$(PIP) --require-hashes --only-binary :all: -r lock/dev.txt
	@touch $@

.cache/lock-tools/bin/uv:
	python3 -m venv .cache/lock-tools
	.cache/lock-tools/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.cache/audit-tools/ready:
	python3 -m venv .cache/audit-tools
	.cache/audit-tools/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 cyclonedx-bom==7.5.0
	@touch $@

# Each stage leaves its mark when what it made is heard well enough; the next one does not begin before.
$(TAUGHT_READY): model_executor/antiphon_nano/teachers.txt
	python3 -m venv .cache/nano-venv
	$(TAUGHT) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NANO)/speech.made: | $(TAUGHT_READY)
	$(LEARN) $(TAUGHT) -u -m antiphon_nano.teacher.synthesis $(NANO)/speech
	$(JUDGE) $(addprefix $(NANO)/speech/,natural-heart held-heart held-deep unseen-heart)
	@touch $@

$(NANO)/codec.passed: $(NANO)/speech.made | $(READY) $(TAUGHT_READY)
	$(LEARN) $(PY) -u -m antiphon_nano.speech.codec_training $(NANO)
	$(JUDGE) $(NANO)/judged/codec
	$(GATE) codec
	@touch $@

$(NANO)/vocoder.passed: $(NANO)/codec.passed | $(READY) $(TAUGHT_READY)
	TORCHINDUCTOR_CACHE_DIR=$(abspath $(NANO)/inductor) \
	$(LEARN) $(PY) -u -m antiphon_nano.speech.vocoder_training $(NANO) $(if $(shell command -v g++),--compile)
	$(JUDGE) $(NANO)/judged/vocoder-held-heart $(NANO)/judged/vocoder-held-deep
	$(GATE) vocoder
	@touch $@

# Not among those: it makes the voice less metallic, where there is a GPU or time.
nano-polish: $(NANO)/vocoder.passed
	$(LEARN) $(PY) -u -m antiphon_nano.speech.vocoder_polish $(NANO)
	$(JUDGE) $(NANO)/judged/polished-held-heart $(NANO)/judged/polished-held-deep
	$(GATE) polished
	@touch $(NANO)/polished.passed

# The Talker needs the codec alone to learn from: with `make -j2 nano` it learns beside the vocoder.
$(NANO)/talker.trained: $(NANO)/codec.passed | $(READY)
	$(LEARN) $(PY) -u -m antiphon_nano.speech.talker_training $(NANO)
	@touch $@

$(NANO)/talker.passed: $(NANO)/vocoder.passed $(NANO)/talker.trained | $(READY) $(TAUGHT_READY)
	$(LEARN) $(PY) -u -m antiphon_nano.speech.talker_trial $(NANO)
	$(JUDGE) $(addprefix $(NANO)/judged/,predictor talker talker-deep unseen)
	$(GATE) talker
	@touch $@

nano-readers:
	@for program in flite festival espeak-ng; do command -v $$program > /dev/null || \
	  { echo "make nano: $$program is missing; on Debian: apt-get install flite festival festvox-us-slt-hts espeak-ng" >&2; exit 1; }; done

$(NANO)/asked.made: | nano-readers $(TAUGHT_READY)
	$(LEARN) $(TAUGHT) -u -m antiphon_nano.thinker.hearing.synthesis $(NANO)/asked
	@touch $@

# The Thinker reads, its towers look and listen, each alone; then all together.
$(NANO)/thinker-text.trained: | $(READY)
	$(THINK).text_training $(NANO)
	@touch $@

$(NANO)/thinker-eyes.trained: | $(READY)
	$(THINK).eyes_training $(NANO)
	@touch $@

$(NANO)/thinker-ears.trained: $(NANO)/speech.made $(NANO)/asked.made | $(READY)
	$(THINK).ears_training $(NANO)
	@touch $@

$(NANO)/towers.passed: $(NANO)/thinker-eyes.trained $(NANO)/thinker-ears.trained
	$(THINK).tower_trial $(NANO)
	$(LEARN) $(PY) -m antiphon_nano.gates $(NANO)/thinker-report.json towers
	@touch $@

# What is heard and seen is words: the Thinker learns that of perfect towers, and the towers of its words.
$(NANO)/thinker-imagined.trained: $(NANO)/thinker-text.trained
	$(THINK).imagining_training $(NANO)
	@touch $@

$(NANO)/thinker-named-%.trained: $(NANO)/thinker-text.trained $(NANO)/towers.passed
	$(THINK).naming_training $(NANO) $*
	@touch $@

$(NANO)/thinker.trained: $(addprefix $(NANO)/thinker-,imagined.trained named-eyes.trained named-ears.trained)
	$(LEARN) $(PY) -u -m torch.distributed.run --standalone --nproc-per-node 2 \
	  -m antiphon_nano.thinker.joint_training $(NANO)
	@touch $@

$(NANO)/thinker-polished.trained: $(NANO)/thinker.trained
	$(LEARN) $(PY) -u -m torch.distributed.run --standalone --nproc-per-node 2 \
	  -m antiphon_nano.thinker.polish $(NANO)
	@touch $@

$(NANO)/thinker.passed: $(NANO)/thinker-polished.trained
	$(THINK).evaluation $(NANO)
	$(LEARN) $(PY) -m antiphon_nano.gates $(NANO)/thinker-report.json thinker
	@touch $@

$(NANO)/antiphon-nano: $(NANO)/talker.passed $(NANO)/thinker.passed
	$(EXPORT)
