#!/usr/bin/env bash
# Makes segue-mini from nothing: its two halves side by side (one core each), joined, then the package weights.
# Photographs and recipes: DATA/{everyday,clothing,objects} (COCO files). About two hours on two cores; goes on where it was.
# Usage: recipes/reproduce_mini.sh
set -euo pipefail
cd "$(dirname "$0")/.."
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
"$segue" train recipes/mini_look.yaml --out runs/mini/look --resume &
look=$!
"$segue" train recipes/mini_talk.yaml --out runs/mini/talk --resume
wait "$look"
"$python" -m segue.mini.assemble --talk runs/mini/talk/final --look runs/mini/look/final --out runs/mini/whole
"$python" -m segue.training.export runs/mini/whole --out runs/mini/segue-mini
