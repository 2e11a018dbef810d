#!/usr/bin/env bash
# Measures segue-mini as its model card reports it: pairs of photographs, neighbours, one of two things, controls,
# unknown pictures and times (photographs.json); the seeing half by kind (kinds.json); dialogues, with their own pictures
# and with others (dialogues/, exchanged/); what persons wear (wearing.json); things marked in one and found in others (marked.json); twelve photographs (photographs.md).
# Photographs with human masks lie in DATA/everyday, clothing and objects (COCO, `val.json`). Half an hour on two cores;
# what OUT holds already of dialogues is kept. Usage: recipes/evaluate_mini.sh [MODEL] [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
model="${1:-segue-mini}" out="${2:-runs/mini/evaluation}" data="${SEGUE_SHARED:-../shared}/data"
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_WAIT_POLICY=PASSIVE
mkdir -p "$out"
"$python" -m segue.mini.evaluation.photo_report "$model" --data "$data" --out "$out/photographs.json"
"$python" -m segue.mini.look.measure "$model" --data "$data" ${FEATURES:+--features "$FEATURES"} --out "$out/kinds.json"
dialogues() { "$segue" eval --model "$model" --data "$data/everyday/val.json" --images "$data/everyday" --count 40 --no-progress "$@"; }
dialogues --out "$out/dialogues"
dialogues --out "$out/exchanged" --shuffle-images
"$python" -m segue.mini.evaluation.shown_too "$out/exchanged" "$data/everyday/val.json" --count 40 | tee "$out/shown_too.json"
wearing() { "$python" -m segue.mini.evaluation.which_photo --model "$model" --coco "$data/clothing/val.json" --images "$data/clothing" "$@"; }
wearing --count 40 | tee "$out/wearing.json"
wearing --count 20 --question "Which image shows {x}?" | tee "$out/shown.json"
"$python" -m segue.evaluation.matching "$data/everyday/val.json" --images "$data/everyday" --model "$model" --triples 100 --ask | tee "$out/marked.json"
"$python" -m segue.mini.evaluation.ordinary_photographs "$model" --data "$data" --out "$out/photographs.md"
