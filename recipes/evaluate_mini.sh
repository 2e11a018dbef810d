#!/usr/bin/env bash
# Measures segue-mini as its model card reports it: pairs of photographs of which one shows a thing, or neither, asked freely.
# Photographs with human masks lie in DATA/everyday (COCO, `val.json`). About five minutes on two cores.
# Usage: recipes/evaluate_mini.sh [MODEL]
set -euo pipefail
cd "$(dirname "$0")/.."
model="${1:-segue-mini}" data="${SEGUE_SHARED:-../shared}/data" python="${PYTHON:-.venv/bin/python}"
export OMP_WAIT_POLICY=PASSIVE
"$python" -m segue.mini.evaluation.photo_pairs "$model" --data "$data" --pairs 100
