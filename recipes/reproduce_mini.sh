#!/usr/bin/env bash
# Makes segue-mini from nothing: its two halves side by side (one core each), joined, then the package weights.
# Photographs: everyday, clothing and objects, COCO files at the places that mini_look.yaml names. About two hours on two cores; goes on where it was.
# Usage: recipes/reproduce_mini.sh
set -euo pipefail
cd "$(dirname "$0")/.."
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
data="${SEGUE_SHARED:-../shared}/data"
look() {
    "$segue" train recipes/mini_look.yaml --out runs/mini/look --resume
    # What it finds in photographs, for the talking half to learn from.
    if [ ! -e runs/mini/told.jsonl ]; then
        "$python" -m segue.mini.look.tell runs/mini/look/final "$data"/everyday/train.json "$data"/clothing/train.json \
            "$data"/objects/train.json --out runs/mini/told.jsonl
    fi
    # Then with masks asked for where the readout itself finds things.
    "$segue" train recipes/mini_look.yaml --out runs/mini/look_on --resume --set "model.init=[{folder: runs/mini/look/final}]" \
        --set data.seed=32 --set options.found_places=0.5 --set options.pictures=8 --set options.masks=18 \
        --set optimiser.learning_rate=9e-4 --set optimiser.warmup_steps=40 --set optimiser.max_steps=2000
}
look &
look=$!
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk --resume
while [ ! -e runs/mini/told.jsonl ]; do
    kill -0 "$look" || wait "$look"
    sleep 5
done
# Then also about lists of photographs, things that have parts ("the cow's head" beside a horse's) and marked regions.
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk_on --resume --set "model.init=[{folder: runs/mini/talk/final}]" \
    --set data.seed=41 --set options.simple_until=0 --set options.simple_fade=1 --set options.told=runs/mini/told.jsonl \
    --set options.told_share=0.4 --set options.owners=0.2 --set options.marked=0.15 --set optimiser.muon_rate=0.008 \
    --set optimiser.learning_rate=1.1e-3 --set optimiser.warmup_steps=40 --set optimiser.max_steps=3400
wait "$look"
"$python" -m segue.mini.assemble --talk runs/mini/talk_on/final --look runs/mini/look_on/final --out runs/mini/whole
"$python" -m segue.training.export runs/mini/whole --out runs/mini/segue-mini
