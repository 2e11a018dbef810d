# The shared part of reproduce_m4seg.sh and reproduce_prist.sh, which source it after saying what is theirs:
# `table` (title|recipe|preset), `protocol`, `tables`, and the defaults of `out` and `data`.
segue="${SEGUE:-.venv/bin/segue}" processes="${PROCESSES:-4}" torchrun="${TORCHRUN:-.venv/bin/torchrun}"
mkdir -p "$out"
models="" rows=()
for line in "${table[@]}"; do models+="${line##*|},"; done
[ -f "$out/compute.json" ] || "$segue" bench --flops --model "${models%,}" --out "$out/compute.json"
measure() { # folder, model, further flags
    [ -f "$1/metrics.json" ] || "$segue" eval --model "$2" --data "$data" --protocol "$protocol" --out "$1" "${@:3}"
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
for name in "${tables[@]}"; do "$segue" table "$name" "${rows[@]}" --bench "$out/compute.json" --out "$out/tables"; done
