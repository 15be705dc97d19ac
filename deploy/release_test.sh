#!/usr/bin/env bash
# Build the sdist, the wheel from the sdist, install it beside the locked packages, serve and speak: `make release-test`.
# In a virtual environment of its own (6 GB). KEEP=1 keeps the folder. RESOLVE=1: pip chooses the versions of `antiphon[cpu]`
# itself, for which it must find torch's CPU build (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
port=${PORT:-18090}
work=$(mktemp -d "${TMPDIR:-/tmp}/antiphon-release.XXXXXX")
server=
finish() {
    status=$?
    [[ -n $server ]] && kill -TERM "$server" 2>/dev/null && wait "$server" || true
    ((status == 0)) || tail -n 20 "$work"/*.log >&2 || true
    [[ -n ${KEEP:-} ]] && printf 'kept: %s\n' "$work" || rm -rf "$work"
    exit "$status"
}
trap finish EXIT
say() { printf '== %s\n' "$*"; }

say "building the sdist, and the wheel from it"
mkdir "$work/source"
git archive HEAD | tar --extract --directory "$work/source"
(cd "$work/source" && "$python" -c "from setuptools import build_meta; build_meta.build_sdist('$work/dist')") >"$work/build.log" 2>&1
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/dist" "$work"/dist/*.tar.gz >>"$work/build.log" 2>&1
ls -sh "$work/dist"

if [[ -n ${RESOLVE:-} ]]; then
    say "installing antiphon[cpu] from the wheel, with what pip chooses"
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install "$(echo "$work"/dist/*.whl)[cpu]" >"$work/install.log" 2>&1
else
    say "installing the locked packages of the extra cpu, and the wheel"
    lock/install.sh "$work/venv" cpu >"$work/install.log" 2>&1
    "$work/venv/bin/python" -m pip install --quiet --no-deps "$work"/dist/*.whl >>"$work/install.log" 2>&1
fi

say "serving from an empty folder"
mkdir "$work/empty"
(cd "$work/empty" && exec "$work/venv/bin/antiphon" serve --port "$port") >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 300); do
    curl --silent --fail --max-time 2 "http://127.0.0.1:$port/readyz" >/dev/null && break
    kill -0 "$server"
    sleep 1
done
python3 deploy/speak.py "http://127.0.0.1:$port" none
say "stopping it"
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
((code == 0))
say "passed: built, installed, served, spoke, drained"
