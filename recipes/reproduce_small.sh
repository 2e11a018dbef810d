#!/usr/bin/env bash
# The papers' tables end to end at small size: every row on one frozen trunk, equal budgets, each with its control
# (other pictures shown). It proves the machinery and claims nothing about the papers. Killed at any moment, the same line
# goes on. STEPS, SCENES, TEST and ROWS make it shorter.
# Usage: recipes/reproduce_small.sh [TRUNK] [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
trunk="${1:-segue-scenes}" out="${2:-runs/small}"
steps="${STEPS:-400}" scenes="${SCENES:-2000}" test="${TEST:-100}" size="${SIZE:-240}"
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_WAIT_POLICY=PASSIVE
data() { [ -f "$out/$1/conversations.jsonl" ] || "$segue" data scenes --seed "$2" --count "$3" --size "$size" --split "$4" --out "$out/$1"; }
data train 71 "$scenes" train
data test 72 "$test" test
"$python" -m segue.mini.small_rows --trunk "$trunk" --out "$out/starts"
measure() { # row, name of the result, further flags; metrics.json is written last, so its folder is then whole
    [ -f "$out/$1/$2/metrics.json" ] || "$segue" eval --model "$out/$1/train/final" --data "$out/test/conversations.jsonl" \
        --out "$out/$1/$2" --no-progress --no-report "${@:3}"
}
rows=()
while IFS=$'\t' read -r row title; do
    case " ${ROWS:-$row} " in *" $row "*) ;; *) continue ;; esac
    [ -f "$out/$row/train/final/config.json" ] || "$segue" train recipes/small_row.yaml --out "$out/$row/train" --resume \
        --set "model.start=$out/starts/$row" --set "data.own=[{path: $out/train/conversations.jsonl}]" \
        --set "optimiser.max_steps=$steps" --set "options.batch_size=${BATCH:-8}"
    measure "$row" eval
    measure "$row" control --shuffle-images
    rows+=(--row "$title=$out/$row/eval,control=$out/$row/control")
done < <("$python" -m segue.mini.small_rows --names --out "$out/starts")
# The papers' own rows are left out: nothing here compares with them.
for table in m4seg ablation square figures; do "$segue" table "$table" "${rows[@]}" --no-published --out "$out/tables"; done
