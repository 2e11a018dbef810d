#!/usr/bin/env bash
# Measures segue-scenes as its model card reports it: new scenes, unseen combinations of colour and kind, unseen wordings,
# the same questions with other pictures shown, and (where they are at hand) the photographs of `clothing/val`.
# Usage: recipes/evaluate_scenes.sh [MODEL] [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
model="${1:-segue-scenes}" out="${2:-runs/eval}"
segue="${SEGUE:-.venv/bin/segue}"
photos="${SEGUE_SHARED:-../shared}/data/clothing"
export OMP_WAIT_POLICY=PASSIVE
data() { [ -f "$out/$1/conversations.jsonl" ] || "$segue" data "${@:2}" --out "$out/$1"; }
run() { "$segue" eval --model "$model" --data "$out/$1/conversations.jsonl" --out "$out/$2" "${@:3}" --no-progress; }
on_photos() { # name of the result, module, further flags
    .venv/bin/python -m "segue.mini.evaluation.$2" --model "$model" --coco "$photos/val.json" --images "$photos" "${@:3}" | tee "$out/$1.json"
}
data scenes300 scenes --seed 9001 --count 300
data heldout120 scenes --seed 9002 --count 120 --split heldout
data unseen100 scenes --seed 9004 --count 100 --wording unseen
run scenes300 scenes300_result
run scenes300 scenes300_shuffled --shuffle-images
run heldout120 heldout120_result
run unseen100 unseen100_result
if [ -f "$photos/val.json" ]; then
    data photos200 photos --coco "$photos/val.json" --images "$photos" --seed 9003 --count 200
    run photos200 photos200_result
    on_photos which_photo which_photo
    on_photos which_photo_as_annotated which_photo --as-annotated
    on_photos label_presence label_presence
fi
.venv/bin/python - "$out" <<'PY'
import json, pathlib, sys
keys = ("mean_iou_by_phrase", "recall_at_50_by_phrase", "phrase_f1", "phrase_f1_image_dependent", "image_id_accuracy", "exact_match")
print(f"{'':22}" + "".join(f"{k[:14]:>16}" for k in keys) + f"{'turn 1 / 2 F1':>18}")
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/metrics.json")):
    m = json.loads(path.read_text())
    turns = " / ".join(f"{m['by_turn'][t]['phrase_f1']:.3f}" for t in ("1", "2") if t in m["by_turn"])
    print(f"{path.parent.name:22}" + "".join(f"{m[k]:16.3f}" if m.get(k) is not None else f"{'-':>16}" for k in keys) + f"{turns:>18}")
PY
