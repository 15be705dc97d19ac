#!/usr/bin/env bash
# Build the cpu image for real, run it, let it speak, and stop it: `make image-test`. Root, Debian, about 20 GB of disk.
# Needs no container engine: buildah with chroot isolation and the vfs driver; the base image is a debootstrapped
# bookworm, unless PYTHON_IMAGE names one that can be pulled. KEEP=1 keeps the work folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

port=${PORT:-18080}
work=$(mktemp -d "${TMPDIR:-/tmp}/antiphon-image.XXXXXX")
image=antiphon:cpu-test
base=${PYTHON_IMAGE:-localhost/bookworm-python}
server=
container=

# Layers are whole copies under vfs, so everything lives in one folder that goes away at the end.
buildah() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
say() { printf '== %s\n' "$*"; }
fail() {
    printf 'image-test: %s\n' "$*" >&2
    [[ -f $work/server.log ]] && tail -n 30 "$work/server.log" >&2
    exit 1
}
finish() {
    status=$?
    if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$(first_process)" || true
        timeout 150 tail --pid="$server" -f /dev/null || true
    fi
    if [[ -z ${KEEP:-} ]]; then
        [[ -n $container ]] && buildah umount "$container" >/dev/null 2>&1 || true
        rm -rf "$work"
    else
        printf 'kept: %s\n' "$work"
    fi
    exit "$status"
}
trap finish EXIT

# The container's first process, as this machine sees it: buildah's own wrapper names it too, but not first.
first_process() { pgrep --full --newest "^[^ ]*${command[*]}"; }

install_tools() {
    # Not `command -v`, which finds the function above.
    [[ -n $(type -P buildah) && -n $(type -P debootstrap) ]] && return
    apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends \
        buildah debootstrap </dev/null >/dev/null
}

# pip inside the build sees what pip sees here: its settings as one file, and the folders that they name.
pip_mounts() {
    printf '[global]\n' >"$work/pip.conf"
    python3 -m pip config list | sed -n -E "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2 = \3/p" |
        grep -v -E '^(cache-dir|require-virtualenv) ' | sort -u -t= -k1,1 >>"$work/pip.conf" || true
    printf -- '--volume=%s:/etc/pip.conf:ro\n' "$work/pip.conf"
    grep -o -E '(file://)?/[^ ]+' "$work/pip.conf" | sed 's#^file://##' | sort -u | while read -r path; do
        # An index's pages point at files beside it, so its parent is mounted.
        case $path in */simple) path=${path%/simple} ;; esac
        [[ -e $path ]] && printf -- '--volume=%s:%s:ro\n' "$path" "$path"
    done
}

make_base() {
    [[ -n ${PYTHON_IMAGE:-} ]] && return
    say "debootstrap: a bookworm with Python as $base"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-dev,python3-venv \
        bookworm "$work/bookworm" >"$work/debootstrap.log" 2>&1 || fail "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    scratch=$(buildah from scratch)
    buildah add --quiet "$scratch" "$work/bookworm" / >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$scratch"
    buildah commit --quiet --rm "$scratch" "$base" >/dev/null
    rm -rf "$work/bookworm"
}

build() {
    say "building the cpu target"
    mapfile -t mounts < <(pip_mounts)
    buildah build --isolation chroot --network host --format docker --target cpu \
        --build-arg "PYTHON=$base" "${mounts[@]}" --tag "$image" . >"$work/build.log" 2>&1 ||
        fail "the build failed: $(grep -i -E 'error|antiphon:' "$work/build.log" | tail -n 2)"
    buildah inspect --type image --format \
        '{{.Docker.Config.User}} {{.Docker.Config.StopSignal}} {{.Docker.Config.Healthcheck.Test}}' "$image" >"$work/config"
    grep -q '^10001:10001 SIGTERM .*/readyz' "$work/config" || fail "user, stop signal or health check is missing: $(cat "$work/config")"
}

start() {
    say "starting it as its own user on port $port"
    # What a container engine would run: the image's entry point and command.
    words=$(buildah inspect --type image --format '{{.Docker.Config.Entrypoint}} {{.Docker.Config.Cmd}}' "$image")
    read -r -a command < <(tr -d '[]' <<<"$words")
    container=$(buildah from "$image")
    buildah run --isolation chroot --network host --env ANTIPHON_API_KEY=image-test --env "ANTIPHON_PORT=$port" \
        "$container" -- "${command[@]}" >"$work/server.log" 2>&1 &
    server=$!
}

wait_ready() {
    for _ in $(seq 600); do
        curl --silent --fail --max-time 2 "http://127.0.0.1:$port/readyz" >/dev/null && return
        kill -0 "$server" 2>/dev/null || fail "the container has stopped"
        sleep 1
    done
    fail "not ready after ten minutes"
}

speak() {
    say "asking for one spoken answer"
    python3 deploy/speak.py "http://127.0.0.1:$port" image-test || fail "no spoken answer"
}

stop() {
    say "SIGTERM, as a container engine sends it to the first process"
    kill -TERM "$(first_process)" || fail "the first process is not to be found"
    code=0
    wait "$server" || code=$?
    server=
    ((code == 0)) || fail "it ended with $code"
}

install_tools
make_base
build
start
wait_ready
speak
stop
say "passed: built, ready, spoke, drained"
