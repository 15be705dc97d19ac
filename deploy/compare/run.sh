#!/usr/bin/env bash
# Measure one server with `antiphon bench`: run.sh antiphon|vllm-omni|sglang-omni, then run.sh table. README.md says how.
set -euo pipefail

model=${MODEL:-Qwen/Qwen3-Omni-30B-A3B-Instruct}
port=${PORT:-8091}
levels=${LEVELS:-1,4,8,16,32}
seconds=${SECONDS_PER_LEVEL:-120}
out=${OUT:-compare}
antiphon=${ANTIPHON:-antiphon}

command_of() {
    case $1 in
        antiphon) echo "$antiphon serve --model $model --tier ${TIER:-light} --port $port" ;;
        vllm-omni) echo "${VLLM_OMNI:-vllm serve $model --omni --port $port}" ;;
        sglang-omni) echo "${SGLANG_OMNI:-sglang serve --model-path $model --port $port}" ;;
        *) echo "run.sh antiphon|vllm-omni|sglang-omni|table" >&2 && exit 2 ;;
    esac
}

if [[ ${1:-} == table ]]; then
    python3 "$(dirname "${BASH_SOURCE[0]}")/table.py" "$out"/*.json
    exit
fi
mkdir -p "$out"
read -r -a command <<<"$(command_of "${1:-}")"
"${command[@]}" >"$out/$1.log" 2>&1 &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
until curl --silent --fail --max-time 2 "http://127.0.0.1:$port/v1/models" >/dev/null; do
    kill -0 $server || { tail -n 20 "$out/$1.log" >&2 && exit 1; }
    sleep 2
done
"$antiphon" bench "http://127.0.0.1:$port" --concurrency "$levels" --duration "$seconds" --warmup 8 --retries 3 \
    --input text,audio --json "$out/$1.json" ${PRICE:+--gpu-hour "$PRICE"}
