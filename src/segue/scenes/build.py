"""Builds a data set of scenes: image files and one conversation per image set."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from tqdm import tqdm

from segue.errors import InputError
from segue.files import atomic_path, write_atomic
from segue.scenes.conversation import to_conversation
from segue.scenes.dialogue import compose_dialogue
from segue.scenes.kinds import Scene
from segue.scenes.render import SPLITS, render_set

CONVERSATIONS = "conversations.jsonl"
SETTINGS = "build.json"
_UNFINISHED = "conversations.jsonl.part"


def build(
    out_dir: str | Path,
    seed: int,
    count: int,
    split: str = "train",
    size: int = 224,
    *,
    progress: bool = True,
    image_format: Literal["png", "jpg"] = "png",
    wording: str = "seen",
) -> Path:
    """Render image sets and write conversations about them; set number k depends on seed, split and k alone.

    An interrupted build goes on where it stopped, and a larger `count` adds to what is there.

    Args:
        out_dir: receives ``images/``, ``conversations.jsonl`` and ``build.json`` (these settings).
        seed: not negative.
        count: number of image sets, which is the number of conversations.
        split: "train", "val", "test" or "heldout"; the same seed gives other scenes in each.
        size: height and width of the images in pixels.
        progress: whether to show a progress bar.
        image_format: "png", or "jpg" at quality 92 (a fifth of the bytes).
        wording: as in `compose_dialogue`.

    Returns:
        The path of ``conversations.jsonl``.

    Raises:
        InputError: an argument is wrong, or the folder holds a build with other settings.

    Source: paper silent; ours.
    """
    _check(seed, count, split, size, image_format, wording)
    folder = Path(out_dir)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    settings = {"seed": seed, "split": split, "size": size, "image_format": image_format, "wording": wording}
    _claim(folder / SETTINGS, settings)
    final, part = folder / CONVERSATIONS, folder / _UNFINISHED
    # A partial file of a known name, not an atomic one: an interrupted build goes on from the lines that are
    # whole, and a larger `count` from a file that was finished.
    if not part.exists() and final.exists():
        os.replace(final, part)
    ids = [f"scenes/{split}_{seed}/{index:06d}" for index in range(count)]
    done, kept_bytes = _completed(folder, part, ids)
    with part.open("ab") as file:
        # Half a line of a killed build goes; its set is drawn again, the same as before.
        file.truncate(kept_bytes)
        for index in tqdm(
            range(done, count), initial=done, total=count, desc=f"scenes {split}", disable=not progress
        ):
            line = _one(folder, ids[index], index, settings)
            file.write(line.encode() + b"\n")
            file.flush()
        os.fsync(file.fileno())
    os.replace(part, final)
    return final


def draw_set(
    seed: int, index: int, *, split: str, size: int = 224, wording: str = "seen"
) -> tuple[list[Scene], list[Any]]:
    """Draw one image set with its exchanges, as `build` does for this seed and index.

    Pictures and words have generators of their own, so that a new question changes no picture.
    """
    # The split's place and not its name: seeds are numbers. A new split must be appended, or all sets change.
    key = (seed, SPLITS.index(split), index)
    scenes = render_set(np.random.default_rng((*key, 0)), size=size, split=split)
    objects = [scene.objects for scene in scenes]
    return scenes, compose_dialogue(objects, np.random.default_rng((*key, 1)), wording=wording)


def _one(folder: Path, id: str, index: int, settings: dict[str, Any]) -> str:
    """Save the images of one set and return its record as a line."""
    split, wording = settings["split"], settings["wording"]
    scenes, exchanges = draw_set(settings["seed"], index, split=split, size=settings["size"], wording=wording)
    paths = [
        f"images/{split}_{settings['seed']}_{index:06d}_{i + 1}.{settings['image_format']}"
        for i in range(len(scenes))
    ]
    for scene, path in zip(scenes, paths, strict=True):
        _save(Image.fromarray(scene.image), folder / path)
    conversation = to_conversation(
        scenes, exchanges, id=id, split=split, paths=paths, meta={"wording": wording}
    )
    return json.dumps(conversation.to_json(), ensure_ascii=False)


def _save(image: Image.Image, path: Path) -> None:
    """Write an image so that the file is either whole or not there."""
    with atomic_path(path) as unfinished:
        if path.suffix == ".jpg":
            # Without chroma subsampling, which would smear the colours of small parts over their neighbours.
            image.save(unfinished, format="JPEG", quality=92, subsampling=0)
        else:
            image.save(unfinished, format="PNG", compress_level=1)


def _completed(folder: Path, part: Path, ids: Sequence[str]) -> tuple[int, int]:
    """Count the leading lines of an unfinished build that are whole and have their images, and the bytes."""
    done = kept = 0
    if not part.exists():
        return done, kept
    with part.open("rb") as file:
        # A smaller `count` has fewer ids than the file has lines; the rest is cut.
        for line, id in zip(file, ids, strict=False):
            try:
                record = json.loads(line) if line.endswith(b"\n") else {}
            except ValueError:
                break
            if record.get("id") != id or not all(
                (folder / image["path"]).exists() for image in record["images"]
            ):
                break
            done, kept = done + 1, kept + len(line)
    return done, kept


def _claim(path: Path, settings: dict[str, Any]) -> None:
    """Note the settings of a build, or make sure that they are those of the build in this folder."""
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                "The settings of the build in this folder cannot be read.",
                expected=json.dumps(settings),
                found=f"{type(error).__name__}: {error}",
                where=str(path),
                fix="choose an empty folder, or delete this file to go on with the build",
            ) from None
        if found != settings:
            raise InputError(
                "This folder holds a build with other settings.",
                expected=json.dumps(settings),
                found=json.dumps(found),
                where=str(path),
                fix="choose an empty folder, or repeat the settings of the build to go on with it",
            )
        return
    write_atomic(path, json.dumps(settings) + "\n")


def _check(seed: int, count: int, split: str, size: int, image_format: str, wording: str) -> None:
    rules = (
        ("seed", seed, seed >= 0, "a whole number from 0 on"),
        ("count", count, count >= 1, "1 or more image sets"),
        ("size", size, size >= 64, "64 pixels or more"),
        ("split", split, split in SPLITS, f"one of {', '.join(SPLITS)}"),
        ("image_format", image_format, image_format in ("png", "jpg"), "png or jpg"),
        ("wording", wording, wording in ("seen", "unseen", "all"), "seen, unseen or all"),
    )
    for name, value, is_right, expected in rules:
        if not is_right:
            raise InputError(
                f"The {name} cannot be used.",
                expected=expected,
                found=repr(value),
                where=name,
                fix=f"change {name}",
            )
