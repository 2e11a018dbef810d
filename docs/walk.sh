#!/usr/bin/env bash
# Walks a newcomer's three ways in a fresh clone and prints how long each step took, as a Markdown table:
# from a clone to a mask, from own photographs to a mask, from own annotations to a trained model.
#
#   docs/walk.sh FOLDER [PHOTO PHOTO [TRAIN.json VAL.json IMAGES]]
#
# FOLDER is made, and gets the clone, .venv and results. STEPS (60) is the length of the training, QUESTION what the two
# photographs are asked, PIP_FLAGS what pip is told (README.md, Install). What the commands say is in FOLDER/walk.log.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1" && folder=$(cd "$1" && pwd)
photo_1=${2:-} photo_2=${3:-} train=${4:-} val=${5:-} images=${6:-}
log=$folder/walk.log
segue=$folder/clone/.venv/bin/segue

step() { # step WHAT COMMAND...: runs it, prints a row
    local what=$1 times
    shift
    TIMEFORMAT='%0R | %U %S'
    times=$({ time "$@" >>"$log" 2>&1; } 2>&1) || { tail -n 20 "$log" >&2; exit 1; }
    awk -v what="$what" '{ printf "| %s | %s | %.0f |\n", what, $1, $3 + $4 }' <<<"$times"
}

make_in_clone() { make -C "$folder/clone" "$1" PIP_FLAGS="${PIP_FLAGS:-}"; }

printf '| step | seconds passed | seconds of a processor |\n|---|---:|---:|\n'
step '`git clone`' git clone -q "$here" "$folder/clone"
step '`make demo`: installed, and a first mask' make_in_clone demo
if [ -n "$photo_2" ]; then
    step '`segue ask` about two photographs of your own' \
        "$segue" ask "$photo_1" "$photo_2" -q "${QUESTION:-What do you see?}" --out "$folder/answer"
fi
if [ -n "$images" ]; then
    data=(--data "$train" --images "$images" --val "$val" --out "$folder/mine")
    step '`segue train --dry-run`' "$segue" train "${data[@]}" --dry-run
    step "\`segue train --steps ${STEPS:-60}\`" "$segue" train "${data[@]}" --steps "${STEPS:-60}"
    step '`segue data own`: 20 conversations about the other photographs' \
        "$segue" data own "$val" --images "$images" --count 20 --out "$folder/val.jsonl"
    step '`segue eval` of the trained model about them' \
        "$segue" eval --model "$folder/mine/final" --data "$folder/val.jsonl" --out "$folder/scores"
fi
