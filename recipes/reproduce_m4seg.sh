#!/usr/bin/env bash
# The rows of M4SEG's tables at full size, on a cluster: trains each recipe, measures it and its control, renders the tables.
# Goes on where it was. DRY_RUN=1 resolves every recipe and counts the compute, and needs neither data nor weights.
# AGENT=agent:http://localhost:8000/v1?model=NAME adds a chat model without training (post-hoc: its boxes given to SAM).
# Usage: recipes/reproduce_m4seg.sh [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/m4seg}" data="${DATA:-datasets/m4seg/test.jsonl}" protocol=m4seg tables=(m4seg ablation square figures)
table=(
    "LISA|recipes/m4seg/lisa.yaml|lisa-7b"
    "GLaMM|recipes/m4seg/glamm.yaml|glamm-7b"
    "OMG-LLaVA|recipes/m4seg/omg_llava.yaml|omg-llava-7b"
    "PRIMA|recipes/prima_7b.yaml|prima-7b"
    "PRIMA, neither|recipes/m4seg/prima_plain.yaml|prima-plain-7b"
    "PRIMA, Q-Former only|recipes/m4seg/prima_qformer.yaml|prima-qformer-7b"
    "PRIMA, DINOv2 only|recipes/m4seg/prima_dino.yaml|prima-dino-7b"
    "PRIMA with SQuARE|recipes/prima_square_7b.yaml|prima-square-7b"
    "SQuARE replaced by pooling|recipes/m4seg/prima_pooling.yaml|prima-pooling-7b"
    "MIRAS|recipes/m4seg/miras.yaml|miras-7b"
)
source recipes/reproduce_rows.sh
