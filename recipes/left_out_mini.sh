#!/usr/bin/env bash
# Does segue-mini mark kinds that no mask and no label taught? Its seeing half from nothing, five kinds of everyday kept from all
# training, joined with the language half of segue-mini; then pairs of photographs of everyday/val about those five alone.
# Half an hour of one core after the trunk's features. Usage: recipes/left_out_mini.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/mini/left_out}" data="${SEGUE_SHARED:-../shared}/data" features="${FEATURES:-runs/mini/features}"
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
"$segue" train recipes/mini_look.yaml --out "$out/look" --resume --set "options.features=$features" \
    --set "options.left_out=[sheep,train,bus,motorcycle,bicycle]" --set options.found_places=0.5 --set optimiser.max_steps=1200
"$python" -m segue.mini.assemble --talk src/segue/weights/segue-mini --look "$out/look/final" --out "$out/whole"
"$python" -m segue.mini.evaluation.photo_report "$out/whole" --data "$data" --only left_out --out "$out/left_out.json"
