# What is beside the server: Kubernetes, Ray, a rolling change, a release. Included by the root Makefile.

.PHONY: dashboard-picture kubernetes-base ray ray-up release-test rolling

dashboard-picture: $(TESTED) ## draw the dashboard's panels from a real Prometheus beside a loaded antiphon-nano (3 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.e2e.dashboard_picture $(ARGS)

kubernetes-base: $(TESTED) ## render the Helm chart for kustomize: deploy/kubernetes/base
	$(PY) -c "from tests.conformance.homes import KUBERNETES; KUBERNETES.install()"
	.cache/conformance/kubernetes/bin/python deploy/kubernetes/render.py

ray: $(TESTED) ## two Ray replicas of antiphon-nano: sessions stay, one is killed under load and comes back (10 minutes)
	PYTHONPATH=model_executor $(PY) -m tests.chaos.ray_replicas $(ARGS)

ray-up: $(TESTED) ## Ray Serve with two replicas of antiphon-nano on this machine, until Ctrl-C
	$(PY) -c "from tests.conformance.homes import RAY; RAY.install()"
	.cache/conformance/ray/bin/python -m ray.serve.scripts run deploy.ray.antiphon_ray:build replicas=2 cpus=0.5 streams=4 \
	  command="$(abspath $(VENV))/bin/antiphon serve" flags="$(if $(MODEL),--model $(MODEL)) $(ARGS)"

release-test: $(TESTED) ## build sdist and wheel, install the wheel beside the locked packages, serve and speak (10 minutes)
	PYTHON=$(PY) deploy/release_test.sh

rolling: $(TESTED) ## replace two servers of antiphon-nano behind nginx under 500 requests, then kill -9 (30 minutes)
	VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 PYTHONPATH=model_executor $(PY) -m tests.chaos.rolling $(ARGS)
