"""Writes two photographs that scikit-image ships, both CC0: a cat (`chelsea`) and a cup of coffee (`coffee`).

python examples/photographs.py runs/demo/photos
"""

from __future__ import annotations

import sys
from pathlib import Path

import skimage.data
from PIL import Image

NAMES = ("chelsea", "coffee")


def main(folder: str) -> None:
    """Write each as a PNG file, and print where."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = Path(folder) / f"{name}.png"
        Image.fromarray(getattr(skimage.data, name)()).save(path)
        print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
