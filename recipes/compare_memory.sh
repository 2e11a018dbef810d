#!/usr/bin/env bash
# What mask memory brings to follow-ups: segue-scenes learns three-turn dialogues with memory and without, with the same
# data, steps and seeds, and answers others' last question, which needs the mask of an earlier answer. A CPU; an arm takes
# minutes of one core. Killed at any moment, the same line goes on. STEPS, TRAIN, TEST, SEEDS, SIZE and BATCH make it shorter.
# Usage: recipes/compare_memory.sh [MODEL] [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
model="${1:-segue-scenes}" out="${2:-runs/memory}"
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}" size="${SIZE:-240}"
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$python" -m segue.mini.memory.build --seed 81 --count "${TRAIN:-350}" --split train --size "$size" --out "$out/train"
"$python" -m segue.mini.memory.build --seed 82 --count "${TEST:-60}" --split test --size "$size" --out "$out/test"
train() { # arm, seed, whether it remembers
    [ -f "$out/$1_$2/train/final/config.json" ] || "$segue" train recipes/memory.yaml --out "$out/$1_$2/train" --resume \
        --set "model.start=$model" --set "model.overrides={region_tokens: true, mask_memory: $3}" \
        --set "model.seed=$2" --set "data.seed=$2" --set "data.own=[{path: $out/train/conversations.jsonl}]" \
        --set "finetune.feature_folder=$out/features" --set "optimiser.max_steps=${STEPS:-250}" \
        --set "options.batch_size=${BATCH:-4}"
}
answer() { # arm, seed, what later questions see of earlier answers; metrics.json is written last
    [ -f "$out/$1_$2/$3/metrics.json" ] || "$segue" eval --model "$out/$1_$2/train/final" --history "$3" --split test \
        --data "$out/test/conversations.jsonl" --out "$out/$1_$2/$3" --batch-size 10 --no-progress --no-report
}
for seed in ${SEEDS:-0 1 2}; do
    train without "$seed" false
    train with "$seed" true
    for history in own truth; do
        answer without "$seed" "$history"
        answer with "$seed" "$history"
    done
done
"$python" -m segue.mini.memory.table "$out"
