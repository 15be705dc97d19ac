# Slow proofs and benchmarks, which `make test` leaves out. Included by the root Makefile.

.PHONY: bench canaries chaos conformance conformance-lock coverage cut-answers flaky fuzz kernels mutants realtime-siege \
  schemathesis siege soak test-v2

bench: $(TESTED) ## text and server process beside vLLM's, speech: ratios, compared with the last run (10 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.bench.standing $(ARGS)

bench-%: $(TESTED) ## measure something: bench-vocoder, ... (ARGS=--help)
	PYTHONPATH=model_executor $(PY) -m tests.bench.bench_$* $(ARGS)

canaries: $(TESTED) ## 10,000 short streams per family in a few slots, 200 in the engines: none may get another's audio
	ANTIPHON_CANARIES=10000 $(PY) -m pytest tests/talker/test_canaries.py $(ARGS)
	ANTIPHON_ENGINE_CANARIES=200 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 $(PY) -m pytest \
	  tests/parity/talker/test_canaries.py tests/parity/requests/test_canaries.py $(ARGS)

chaos: $(TESTED) ## kill clients and engines, read slowly, drain behind nginx (30 minutes)
	$(PY) -m tests.chaos $(ARGS)

conformance: $(TESTED) ## every real client, each in its own environment, against antiphon-nano: a table (ARGS="livekit aiperf")
	PYTHONPATH=model_executor $(PY) -m tests.conformance $(ARGS)

conformance-lock: $(TESTED) .cache/lock-tools/bin/uv ## write the locks of the clients' environments (ARGS="livekit aiperf")
	$(PY) -m tests.conformance.update_locks $(ARGS)

# The clients that `make test` runs; without a package index their tests are skipped.
CLIENTS := .cache/conformance/ready
$(CLIENTS): $(TESTED) $(wildcard tests/conformance/locks/*.txt tests/conformance/locks/*/package-lock.json)
	@echo "Installing the clients of the tests"
	@$(PY) -m tests.conformance.homes
	@touch $@

test: $(CLIENTS)

.PHONY: page-shots
page-shots: $(TESTED) ## pictures of each state of the page, its weight, first paint and script a frame (ARGS="DIR")
	PYTHONPATH=model_executor $(PY) -m tests.page $(ARGS)

coverage: $(TESTED) ## line coverage of server and executor by the tests without an engine
	$(PY) -m tests.run coverage $(ARGS)

cut-answers: $(TESTED) ## cut 200 spoken answers of antiphon-nano at random points: speech must end with the text (30 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.bench.bench_cut_answers $(ARGS)

flaky: $(TESTED) ## repeat tests of engines, processes, clocks 20 times on busy cores (hours; ARGS="tests/chaos --repeat 5")
	$(PY) -m tests.run flaky $(ARGS)

fuzz: $(TESTED) ## coverage-guided bytes for each parser of what clients send (10 minutes; ARGS="--seconds 600 http_bytes")
	$(PY) -m tests.fuzz $(ARGS)

mutants: $(TESTED) ## remove each check of the HTTP limits: a test must fail (15 minutes; ARGS="http.framing")
	nice $(PY) -m tests.mutants $(ARGS)

realtime-siege: $(TESTED) ## 1,000 broken realtime connections, 200 idle ones, 200 interruptions (40 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.chaos.realtime $(ARGS)

schemathesis: $(TESTED) ## 200 random requests per operation instead of 3: is the OpenAPI document true? (20 minutes)
	ANTIPHON_SCHEMATHESIS_EXAMPLES=200 $(PY) -m pytest tests/server/http/test_schemathesis.py $(ARGS)

siege: $(TESTED) ## hostile clients: mutated requests, media bombs, disconnects, trailers, grammars (15 minutes)
	$(PY) -m tests.chaos.siege $(ARGS)

soak: $(TESTED) ## a mixed load for 15 minutes: nothing may grow (ARGS="--minutes 60")
	$(PY) -m tests.chaos.soak $(ARGS)

kernels: $(TESTED) ## compile the Triton kernels of a Talker step for sm_80, sm_90, sm_100; count its launches (3 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.gpu.compiled $(ARGS)

# A CPU takes asynchronous scheduling back; tests/v2 does not.
V2 := $(PY) -m pytest tests/v2/on_v2.py tests/parity tests/v2/on_v2_server.py

test-v2: $(TESTED) ## parity, media, aborts, whole servers on vLLM's V2 model runner, CUDA's, by Triton's interpreter (an hour)
	PYTHONPATH=tests/v2 $(V2) $(ARGS)
	PYTHONPATH=tests/v2 ANTIPHON_TEST_ASYNC=1 $(V2) $(ARGS)
