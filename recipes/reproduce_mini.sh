#!/usr/bin/env bash
# Trains segue-mini from nothing: six stages, the first two side by side (one core each), then the package weights.
# About three and a half hours on two cores. Killed at any moment, it goes on from the last checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=PASSIVE
segue="${SEGUE:-.venv/bin/segue}"
OMP_NUM_THREADS=1 "$segue" train recipes/mini_vision.yaml --out runs/mini/vision --resume &
vision=$!
sleep 60 # the scenes and the tokenizer are made by whoever comes first
OMP_NUM_THREADS=1 "$segue" train recipes/mini_masks.yaml --out runs/mini/masks --resume &
masks=$!
wait "$vision"
OMP_NUM_THREADS=1 "$segue" train recipes/mini_slots.yaml --out runs/mini/slots --resume
wait "$masks"
"$segue" train recipes/mini_labels.yaml --out runs/mini/labels --resume
branch() { # two go on from the same weights; their mean is kept
    OMP_NUM_THREADS=1 "$segue" train recipes/mini_labels.yaml --out "runs/mini/labels_$1" --resume \
        --set data.seed="$1" --set options.recolour="$2" --set optimiser.max_steps=1000 \
        --set optimiser.learning_rate=0.0012 --set optimiser.warmup_steps=10 \
        --set model.init='[{folder: runs/mini/labels/final, parts: [label_reader]}]'
}
branch 51 0.3 &
other=$!
branch 52 0.5
wait "$other"
.venv/bin/python -m segue.training.export runs/mini/labels_51/final runs/mini/labels_52/final \
    --parts label_reader --out runs/mini/labels_mean/final
"$segue" train recipes/mini_conversation.yaml --out runs/mini/conversation --resume
"$segue" train recipes/mini_joint.yaml --out runs/mini/joint --resume
.venv/bin/python -m segue.training.export runs/mini/joint/final --out runs/mini/segue-mini
