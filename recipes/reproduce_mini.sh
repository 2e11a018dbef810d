#!/usr/bin/env bash
# Makes segue-mini from nothing: its two halves side by side (one core each), joined, then the package weights.
# Photographs: everyday, clothing and objects, COCO files at the places that mini_look.yaml names. About two hours on two cores; goes on where it was.
# Usage: recipes/reproduce_mini.sh
set -euo pipefail
cd "$(dirname "$0")/.."
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
look() {
    "$segue" train recipes/mini_look.yaml --out runs/mini/look --resume
    # Then with masks asked for where the readout itself finds things.
    "$segue" train recipes/mini_look.yaml --out runs/mini/look_on --resume --set "model.init=[{folder: runs/mini/look/final}]" \
        --set data.seed=32 --set options.found_places=0.5 --set options.pictures=8 --set options.masks=18 \
        --set optimiser.learning_rate=9e-4 --set optimiser.warmup_steps=40 --set optimiser.max_steps=2000
}
look &
look=$!
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk --resume
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk_on --resume --set "model.init=[{folder: runs/mini/talk/final}]" \
    --set data.seed=22 --set options.simple_until=0 --set options.simple_fade=1 --set optimiser.muon_rate=0.008 \
    --set optimiser.learning_rate=1.1e-3 --set optimiser.warmup_steps=30 --set optimiser.max_steps=1500
# Last, more about things that have parts ("the cow's head" beside a horse's) and about marked regions.
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk_marks --resume \
    --set "model.init=[{folder: runs/mini/talk_on/final}]" --set data.seed=33 --set options.owners=0.25 --set options.marked=0.3 \
    --set options.simple_until=0 --set options.simple_fade=200 --set optimiser.muon_rate=0.006 \
    --set optimiser.learning_rate=8e-4 --set optimiser.warmup_steps=15 --set optimiser.max_steps=450
wait "$look"
"$python" -m segue.mini.assemble --talk runs/mini/talk_marks/final --look runs/mini/look_on/final --out runs/mini/whole
"$python" -m segue.training.export runs/mini/whole --out runs/mini/segue-mini
