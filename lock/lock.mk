# The hash-pinned locks: writing them, listing and auditing what they install. Included by the root Makefile.

.PHONY: lock lock-cuda sbom audit

lock: .cache/lock-tools/bin/uv ## rewrite the locks (UPGRADE=1: newer releases)
	.cache/lock-tools/bin/python lock/update.py $(if $(UPGRADE),--upgrade)

lock-cuda: $(READY) ## a dry run of lock/cuda.txt: downloads 4 GB, checks every hash and requirement, installs nothing
	@mkdir -p build
	$(PIP) --dry-run --ignore-installed --require-hashes --only-binary :all: --report build/lock-cuda.json -r lock/cuda.txt
	$(PY) lock/fits.py build/lock-cuda.json

sbom: .cache/audit-tools/ready ## list what the locks install, as CycloneDX (build/sbom-cpu.json, ...)
	@mkdir -p build
	for lock in cpu cuda; do .cache/audit-tools/bin/cyclonedx-py requirements lock/$$lock.txt \
	  --output-reproducible --output-file build/sbom-$$lock.json || exit 1; done

audit: .cache/audit-tools/ready ## check the locked packages for known vulnerabilities
	.cache/audit-tools/bin/python lock/audit.py $(wildcard lock/*.txt)

.cache/lock-tools/bin/uv:
	python3 -m venv .cache/lock-tools
	.cache/lock-tools/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.cache/audit-tools/ready:
	python3 -m venv .cache/audit-tools
	.cache/audit-tools/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 cyclonedx-bom==7.5.0
	@touch $@
