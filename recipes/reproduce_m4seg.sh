#!/usr/bin/env bash
# The rows of M4SEG's tables at full size, on a cluster: trains each recipe, measures it and its control, renders the tables.
# Goes on where it was. DRY_RUN=1 resolves every recipe and counts the compute, and needs neither data nor weights.
# AGENT=agent:http://localhost:8000/v1?model=NAME adds a chat model without training (post-hoc: its boxes given to SAM).
# Usage: recipes/reproduce_m4seg.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/m4seg}" segue="${SEGUE:-.venv/bin/segue}" data="${DATA:-datasets/m4seg/test.jsonl}" processes="${PROCESSES:-4}"
torchrun="${TORCHRUN:-.venv/bin/torchrun}"
table=(
    "LISA|recipes/m4seg/lisa.yaml|lisa-7b"
    "GLaMM|recipes/m4seg/glamm.yaml|glamm-7b"
    "PRIMA|recipes/prima_7b.yaml|prima-7b"
    "PRIMA, neither|recipes/m4seg/prima_plain.yaml|prima-plain-7b"
    "PRIMA, Q-Former only|recipes/m4seg/prima_qformer.yaml|prima-qformer-7b"
    "PRIMA, DINOv2 only|recipes/m4seg/prima_dino.yaml|prima-dino-7b"
    "PRIMA with SQuARE|recipes/prima_square_7b.yaml|prima-square-7b"
    "SQuARE replaced by pooling|recipes/m4seg/prima_pooling.yaml|prima-pooling-7b"
    "MIRAS|recipes/m4seg/miras.yaml|miras-7b"
)
mkdir -p "$out"
models="" rows=()
for line in "${table[@]}"; do models+="${line##*|},"; done
[ -f "$out/compute.json" ] || "$segue" bench --flops --model "${models%,}" --out "$out/compute.json"
measure() { # folder, model, further flags
    [ -f "$1/metrics.json" ] || "$segue" eval --model "$2" --data "$data" --protocol m4seg --out "$1" "${@:3}"
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
for name in m4seg ablation square figures; do "$segue" table "$name" "${rows[@]}" --bench "$out/compute.json" --out "$out/tables"; done
