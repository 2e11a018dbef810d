#!/usr/bin/env bash
# What leaving out each option of making segue-mini costs: short runs from nothing, one option changed in each, measured alike.
# Each half by itself: the look half on photographs of everyday/val, the talk half on lists of findings, drawn up and of
# those photographs. About 100 minutes of one core after the trunk's features; what OUT holds already is kept. The table: docs/results/options.md.
# Started twice it shares the runs: one core each.
# Usage: recipes/ablate_mini.sh [OUT] [look|talk]   (both halves by default)
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/mini/options}" half="${2:-both}" data="${SEGUE_SHARED:-../shared}/data" features="${FEATURES:-runs/mini/features}"
segue="${SEGUE:-.venv/bin/segue}" python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
mkdir -p "$out"
# Whether a run is still to be made, and nobody else makes it.
free() {
    [ ! -e "$out/$1.json" ] || return 1
    exec 9> "$out/$1.lock"
    flock -n 9
}
look() {
    free "look_$1" || return 0
    "$segue" train recipes/mini_look.yaml --out "$out/look_$1" --resume --set optimiser.max_steps=400 \
        --set "options.features=$features" --set options.found_places=0.5 "${@:2}"
    "$python" -m segue.mini.look.measure "$out/look_$1/final" --data "$data" --features "$features" --limit 200 --out "$out/look_$1.part"
    # Things that only the trunk knows, asked for with the language half of segue-mini; the file keeps what it holds.
    "$python" -m segue.mini.assemble --talk src/segue/weights/segue-mini --look "$out/look_$1/final" --out "$out/look_$1/whole"
    "$python" -m segue.mini.evaluation.photo_report "$out/look_$1/whole" --data "$data" --only trunk_only --out "$out/look_$1.part"
    mv "$out/look_$1.part" "$out/look_$1.json"
}
tell() {
    [ ! -e "$out/$1.jsonl" ] || return 0
    (
        flock 8
        [ -e "$out/$1.jsonl" ] || "$python" -m segue.mini.look.tell segue-mini "${@:2}" --features "$features" --out "$out/$1.jsonl"
    ) 8> "$out/$1.lock"
}
talk() {
    free "talk_$1" || return 0
    "$segue" train recipes/mini_talk.yaml --out "$out/talk_$1" --resume --set optimiser.max_steps=300 \
        --set "model.tokenizer.folder=${TOKENIZER:-$out/tokenizer}" --set options.simple_fade=100 --set options.simple_until=100 \
        --set "options.told=$out/told.jsonl" --set options.told_share=0.4 "${@:2}"
    "$python" -m segue.mini.talk.evaluate "$out/talk_$1/final" --conversations 60 --told "$out/told_val.jsonl" --out "$out/talk_$1.json"
}
if [ "$half" != talk ]; then
    look all
    look found_places --set options.found_places=0
    look folded_share --set options.folded_share=0
fi
if [ "$half" != look ]; then
    tell told "$data"/everyday/train.json "$data"/clothing/train.json "$data"/objects/train.json
    tell told_val "$data"/everyday/val.json
    talk all
    talk simple_until --set options.simple_until=0 --set options.simple_fade=0
    talk pointing --set options.pointing=0
    talk name_weight --set options.name_weight=1
    talk points --set options.points=0
    talk told --set options.told_share=0
    talk owners --set options.owners=0
    talk marked --set options.marked=0
    talk free_noise --set options.free_noise=0
    talk free_tokens --set model.overrides.free_tokens=0
fi
"$python" -m segue.mini.evaluation.option_rows "$out"
