"""Write a folder of dialogues that need an earlier mask, over scenes drawn for them:

python -m segue.mini.memory.build --seed 81 --count 1000 --out runs/memory/train
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from segue.files import write_atomic
from segue.mini.memory.dialogues import MOVES, draw
from segue.scenes.conversation import to_conversation
from segue.scenes.render import SPLITS

CONVERSATIONS = "conversations.jsonl"


def build(out: Path, seed: int, count: int, split: str = "train", size: int = 240) -> Path:
    """Write `images/` and, last, `conversations.jsonl`; a folder that has the latter is left alone.

    Number k depends on seed, split and k alone, and goes the way `k mod 5` of `MOVES` in its last question.

    Args:
        out: Folder, made if need be.
        seed: Not negative.
        count: Number of dialogues; each has two images.
        split: `train`, `val`, `test` or `heldout`, see `segue.scenes.render_scene`.
        size: Height and width of the images in pixels.
    """
    path = out / CONVERSATIONS
    if path.is_file():
        return path
    (out / "images").mkdir(parents=True, exist_ok=True)
    moves = list(MOVES)
    lines = []
    for k in range(count):
        rng = np.random.default_rng((seed, SPLITS.index(split), k))
        scenes, exchanges = draw(rng, moves[k % len(moves)], size, split)
        paths = [f"images/{k:06d}_{place + 1}.png" for place in range(len(scenes))]
        for scene, name in zip(scenes, paths, strict=True):
            Image.fromarray(scene.image).save(out / name, compress_level=1)
        record = to_conversation(
            scenes, exchanges, id=f"scenes/memory_{split}_{seed}/{k:06d}", split=split, paths=paths
        )
        lines.append(json.dumps(record.to_json()) + "\n")
    write_atomic(path, "".join(lines))
    return path


def main(argv: list[str] | None = None) -> None:
    """Build a folder as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of images and conversations.jsonl")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="number of dialogues")
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--size", type=int, default=240, help="height and width of the images")
    options = parser.parse_args(argv)
    build(options.out, options.seed, options.count, options.split, options.size)


if __name__ == "__main__":
    main()
