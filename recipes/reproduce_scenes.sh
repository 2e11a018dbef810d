#!/usr/bin/env bash
# Trains segue-scenes from nothing: six stages, the first two side by side (one core each), then the package weights.
# About three and a half hours on two cores. Killed at any moment, it goes on from the last checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=PASSIVE
segue="${SEGUE:-.venv/bin/segue}"
OMP_NUM_THREADS=1 "$segue" train recipes/scenes_vision.yaml --out runs/scenes/vision --resume &
vision=$!
sleep 60 # the scenes and the tokenizer are made by whoever comes first
OMP_NUM_THREADS=1 "$segue" train recipes/scenes_masks.yaml --out runs/scenes/masks --resume &
masks=$!
wait "$vision"
OMP_NUM_THREADS=1 "$segue" train recipes/scenes_slots.yaml --out runs/scenes/slots --resume
wait "$masks"
"$segue" train recipes/scenes_labels.yaml --out runs/scenes/labels --resume
branch() { # two go on from the same weights; their mean is kept
    OMP_NUM_THREADS=1 "$segue" train recipes/scenes_labels.yaml --out "runs/scenes/labels_$1" --resume \
        --set data.seed="$1" --set options.recolour="$2" --set optimiser.max_steps=1000 \
        --set optimiser.learning_rate=0.0012 --set optimiser.warmup_steps=10 \
        --set model.init='[{folder: runs/scenes/labels/final, parts: [label_reader]}]'
}
branch 51 0.3 &
other=$!
branch 52 0.5
wait "$other"
.venv/bin/python -m segue.training.export runs/scenes/labels_51/final runs/scenes/labels_52/final \
    --parts label_reader --out runs/scenes/labels_mean/final
"$segue" train recipes/scenes_conversation.yaml --out runs/scenes/conversation --resume
"$segue" train recipes/scenes_joint.yaml --out runs/scenes/joint --resume
.venv/bin/python -m segue.training.export runs/scenes/joint/final --out runs/scenes/segue-scenes
