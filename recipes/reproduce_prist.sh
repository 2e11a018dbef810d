#!/usr/bin/env bash
# The rows of PRIST's tables at full size, on a cluster: trains each recipe, measures it and its control, renders the tables.
# Goes on where it was. DRY_RUN=1 resolves every recipe and counts the compute, and needs neither data nor weights.
# AGENT=agent:http://localhost:8000/v1?model=NAME adds a chat model without training (post-hoc: its boxes given to SAM).
# Usage: recipes/reproduce_prist.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/prist}" segue="${SEGUE:-.venv/bin/segue}" data="${DATA:-datasets/prist/test.jsonl}" processes="${PROCESSES:-4}"
torchrun="${TORCHRUN:-.venv/bin/torchrun}"
table=(
    "LISA|recipes/prist/lisa.yaml|lisa-7b"
    "GLaMM|recipes/prist/glamm.yaml|glamm-7b"
    "PRIMA|recipes/prist/prima.yaml|prima-7b"
    "PRIMA with SQuARE|recipes/prist/prima_square.yaml|prima-square-7b"
    "MIRAS|recipes/miras_stage2.yaml|miras-7b"
)
mkdir -p "$out"
models="" rows=()
for line in "${table[@]}"; do models+="${line##*|},"; done
[ -f "$out/compute.json" ] || "$segue" bench --flops --model "${models%,}" --out "$out/compute.json"
measure() { # folder, model, further flags
    [ -f "$1/metrics.json" ] || "$segue" eval --model "$2" --data "$data" --protocol prist --out "$1" "${@:3}"
}
for line in "${table[@]}"; do
    IFS='|' read -r title recipe preset <<< "$line"
    run="$out/$preset"
    if [ -n "${DRY_RUN:-}" ]; then
        "$segue" train "$recipe" --out "$run/dry" --dry-run
        continue
    fi
    count="$(sed -n 's/^  processes: //p' "$recipe")"
    [ -f "$run/train/final/config.json" ] || "$torchrun" --nproc_per_node="${count:-$processes}" -m segue.cli train "$recipe" --out "$run/train"
    measure "$run/eval" "$run/train/final"
    measure "$run/control" "$run/train/final" --shuffle-images
    rows+=(--row "$title=$run/eval,control=$run/control,compute=$preset")
done
[ -z "${DRY_RUN:-}" ] || exit 0
if [ -n "${AGENT:-}" ]; then
    measure "$out/agent/eval" "$AGENT"
    measure "$out/agent/control" "$AGENT" --shuffle-images
    rows+=(--row "Agent=$out/agent/eval,control=$out/agent/control,zero-shot")
fi
for name in prist reasoning; do "$segue" table "$name" "${rows[@]}" --bench "$out/compute.json" --out "$out/tables"; done
