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
"$segue" train recipes/mini_conversation.yaml --out runs/mini/conversation --resume
"$segue" train recipes/mini_joint.yaml --out runs/mini/joint --resume
.venv/bin/python -m segue.training.export runs/mini/joint/final --out runs/mini/segue-mini
