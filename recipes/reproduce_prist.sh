#!/usr/bin/env bash
# The rows of PRIST's tables at full size, on a cluster: trains each recipe, measures it and its control, renders the tables.
# Goes on where it was. DRY_RUN=1 resolves every recipe and counts the compute, and needs neither data nor weights.
# AGENT=agent:http://localhost:8000/v1?model=NAME adds a chat model without training (post-hoc: its boxes given to SAM).
# Usage: recipes/reproduce_prist.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/prist}" data="${DATA:-datasets/prist/test.jsonl}" protocol=prist tables=(prist reasoning)
table=(
    "LISA|recipes/prist/lisa.yaml|lisa-7b"
    "GLaMM|recipes/prist/glamm.yaml|glamm-7b"
    "OMG-LLaVA|recipes/prist/omg_llava.yaml|omg-llava-7b"
    "PRIMA|recipes/prist/prima.yaml|prima-7b"
    "PRIMA with SQuARE|recipes/prist/prima_square.yaml|prima-square-7b"
    "MIRAS|recipes/miras_stage2.yaml|miras-7b"
)
source recipes/reproduce_rows.sh
