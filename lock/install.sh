#!/bin/sh
# Set up a virtual environment from the locks: install.sh VENV cpu|cuda. The project itself is not installed here.
# Safe to interrupt and to repeat; says what is wrong in one line. PYTHON=... picks an interpreter.
set -eu

venv=$1 device=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
log=$venv/install.log

fail() {
    printf 'antiphon: %s\n' "$*" >&2
    exit 1
}

case $device in
    cpu) need_gb=6 ;;
    cuda) need_gb=16 ;;
    *) fail "DEVICE is '$device'; it must be cpu or cuda." ;;
esac
case "$(uname -s) $(uname -m)" in
    "Linux x86_64") lock=$root/lock/$device.txt ;;
    "Linux aarch64") lock=$root/lock/$device-arm64.txt ;;
    *) fail "the locks are for Linux on x86_64 and arm64; this is $(uname -s) on $(uname -m). The image of the Dockerfile may run here." ;;
esac

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
find_python() {
    without_venv=
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        "$python" -c "$fits" >/dev/null 2>&1 || continue
        if "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            return 0
        fi
        without_venv=${without_venv:-$python}
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv has no venv module; on Debian and Ubuntu: apt install $(basename "$without_venv")-venv"
    fi
    fail "needs Python 3.11 to 3.14 and found none${PYTHON:+ in PYTHON=$PYTHON}; PYTHON=/path/to/python3.12 names one."
}

check_space() {
    mkdir -p "$venv" || fail "cannot write to $venv"
    free_kb=$(df -Pk "$venv" | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge $((need_gb * 1024 * 1024)) ] ||
        fail "needs about $need_gb GB of disk for $venv; $((free_kb / 1024 / 1024)) GB are free."
}

run() { # what, command...: quiet, with the cause in one line where it fails
    what=$1
    shift
    printf '%s\n' "$what"
    if ! "$@" >>"$log" 2>&1; then
        cause=$(grep -i 'error' "$log" | tail -n 1 || true)
        fail "failed at: $what ${cause:-} (all of it: $log)"
    fi
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
locked() { pip install --no-deps --require-hashes --only-binary :all: "$@"; }

# torch's CPU build: where pip is set up to find it, else from PyTorch's own index, the only one that has it.
torch_cpu() {
    locked --retries 1 -r "$root/lock/torch-cpu.txt" ||
        locked --retries 1 --timeout 30 --index-url https://download.pytorch.org/whl/cpu -r "$root/lock/torch-cpu.txt"
}

# A venv is kept where it is whole: its stamp is taken away before anything is changed in it, and `make` puts it back
# at the end. A half-made one may hold half a package, and one for the other device holds the wrong ones.
if [ -e "$venv/ready-$device" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm "$venv/ready-$device"
else
    find_python
    check_space
    printf 'Making %s with %s for %s\n' "$venv" "$("$python" --version)" "$device"
    said=$("$python" -m venv --clear "$venv" 2>&1) || fail "$python -m venv failed: $(printf '%s' "$said" | tail -n 1)"
fi
: >"$log"

if [ "$device" = cpu ]; then
    run "Installing torch (CPU build)" torch_cpu
fi
run "Installing $(grep -c '^[a-z0-9].*==' "$lock") packages of lock/${lock##*/} (some minutes)" locked -r "$lock"
