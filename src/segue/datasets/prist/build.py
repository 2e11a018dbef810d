"""PRIST's three steps over any folder of images and any chat model, as a job of `segue.datasets.generation`.

    picture -> elements -> reasoning tree -> one dialogue for each path -> (box ->) mask -> record

Source: PRIST; what its released prototype asked for is known from its history, the prompts here are our own.
Differences: dialogues are asked for one by one, so that one bad path does not cost the others; every step is
checked (`rules`); parts of paths that overlap are shared nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from segue.chat_model import Message
from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.image_folder import IMAGE_SUFFIXES
from segue.datasets.generation import (
    Ask,
    Flow,
    GenerationJob,
    GivenUpError,
    Item,
    UnusableItemError,
    broken,
    prompt,
    prompt_digest,
)
from segue.datasets.prist.final_turn import Said, Target, final_digest, finished
from segue.datasets.prist.labels import folded
from segue.datasets.prist.outlines import OutlinedThing, digest_of, listed, outlined_things
from segue.datasets.prist.rules import (
    FEWEST_TURNS,
    MOST_TURNS,
    check_box,
    check_dialogue,
    check_elements,
    check_tree,
)
from segue.datasets.prist.steps import BoxReply, Dialogue, Elements, ReasoningTree, Round, TreePath
from segue.errors import InputError
from segue.files import relative_path
from segue.images import load_image
from segue.masks import RLE, area
from segue.records import ImageRef, Meta
from segue.records.conversation import Split

PROMPTS = ("prist_system", "prist_elements", "prist_outlined", "prist_tree", "prist_dialogue", "prist_box")
RULES = 1
"""Raised when the rules or the records change, so that finished items of an older version are made anew."""

MaskFromBox = Callable[[Image.Image, tuple[float, float, float, float]], RLE]
"""Draws the mask for a box (left, top, right, bottom in pixels); has to be deterministic and thread-safe."""


@dataclass(frozen=True)
class PristSettings:
    """Settings of a build: what is made of each image.

    Attributes:
        paths: Dialogues per image; PRIST has three.
        fewest_turns, most_turns: Rounds before the one with the mask.
        elements: Fewest elements of step 1.
        side: Longest side, in pixels, of the picture that the model sees.
        split: Written into the records.
        seed: Of the choice of final requests and answers.
        temperature: Of the model.
        max_tokens: Of a reply.
    """

    paths: int = 3
    fewest_turns: int = FEWEST_TURNS
    most_turns: int = MOST_TURNS
    elements: int = 3
    side: int = 1024
    split: Split = "train"
    seed: int = 0
    temperature: float = 0.7
    max_tokens: int = 3000

    def __post_init__(self) -> None:
        for name, right, expected in (
            ("paths", 1 <= self.paths <= 12, "1 to 12"),
            ("turns", 1 <= self.fewest_turns <= self.most_turns <= 20, "1 <= fewest <= most <= 20"),
            ("side", self.side >= 64, "64 pixels or more"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not right:
                found = (
                    f"{self.fewest_turns} to {self.most_turns}" if name == "turns" else getattr(self, name)
                )
                raise InputError(
                    "These dialogues cannot be made.", expected=expected, found=str(found), where=name,
                    fix=f"change {name}",
                )  # fmt: skip


@dataclass(frozen=True)
class PristSource:
    """The images of a job.

    Attributes:
        images: In order, with a name that becomes part of ids.
        out: Folder of the records; image paths are written relative to it.
        annotated: By name; where there are some, every dialogue ends in one of their regions.
        captions: By name; shown in step 2 as PRIST does.
        mask_from_box: Draws masks where nothing is annotated; None leaves them null.
        mask_maker: What to call it in the records, such as "sam2.1-hiera-large".
    """

    images: Sequence[tuple[str, Path]]
    out: Path
    annotated: Mapping[str, AnnotatedImage] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    mask_from_box: MaskFromBox | None = None
    mask_maker: str = ""


def images_in(folder: Path) -> list[tuple[str, Path]]:
    """(name, file) of all images below a folder, sorted; the name is the path without its suffix.

    Raises:
        InputError: No folder, or no image in it.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    found = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not found:
        raise InputError(
            "There are no images to talk about.",
            expected="a folder with " + ", ".join(IMAGE_SUFFIXES[:4]) + ", ...",
            found="none" if folder.is_dir() else "no folder",
            where=str(folder),
            fix="check the path",
        )
    stems: dict[str, list[Path]] = {}
    for path in found:
        stems.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    # a.jpg beside a.png: both keep their suffix in the name.
    return [
        (stem if len(files) == 1 else file.relative_to(folder).as_posix(), file)
        for stem, files in stems.items()
        for file in files
    ]


def prist_job(source: PristSource, settings: PristSettings) -> GenerationJob:
    """The job that makes PRIST dialogues of images; see `segue.datasets.generation.Generation`."""
    box_steps = settings.paths if source.mask_from_box is not None and not source.annotated else 0
    return GenerationJob(
        name="prist",
        items=[_item(name, path, source) for name, path in source.images],
        make=_Maker(source, settings),
        identity={
            "rules": RULES,
            "prompts": prompt_digest(*PROMPTS) + final_digest(),
            "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
            "masks": "annotated" if source.annotated else source.mask_maker,
        },
        # Elements and tree, and a dialogue for each path.
        steps=2 + settings.paths + box_steps,
        reply_tokens=350,
    )


def _item(name: str, path: Path, source: PristSource) -> Item:
    stat = path.stat()
    annotated = source.annotated.get(name)
    # Not a hash of the content: a job lists all its items at its start, and would read every image for it.
    digest = [stat.st_size, stat.st_mtime_ns, source.captions.get(name, "")]
    digest += [] if annotated is None else [digest_of(annotated)]
    return Item(name, path, json.dumps(digest))


class _Maker:
    """`GenerationJob.make` for PRIST."""

    def __init__(self, source: PristSource, settings: PristSettings) -> None:
        self.source, self.settings = source, settings

    def __call__(self, item: Item) -> Flow:
        """Elements, tree, and a dialogue for each path."""
        settings = self.settings
        picture = load_image(item.payload)
        things = self._things(item)
        shown = _fitted(picture, settings.side)
        outlined = prompt("prist_outlined", listed=listed(things)) if things else ""
        question = prompt("prist_elements", least=str(settings.elements), outlined=outlined)
        chat = [Message("system", (prompt("prist_system"),)), Message("user", (shown, question))]
        elements: Elements = yield self._ask(
            "elements", chat, Elements, lambda reply: check_elements(reply, least=settings.elements)
        )
        chat += [_said(elements), Message("user", (self._tree_prompt(item, things),))]
        names, labels = [e.name for e in elements.elements], [t.label for t in things]
        tree: ReasoningTree = yield self._ask(
            "tree",
            chat,
            ReasoningTree,
            lambda reply: check_tree(reply, names, paths=settings.paths, outlined=labels),
        )
        # The whole tree and not one path of it: the dialogues of all paths continue the same chat.
        chat.append(_said(tree))
        records = []
        for number, path in enumerate(tree.paths):
            try:
                made = yield from self._path(item, picture, chat, tree, path, things, number)
            except GivenUpError:
                continue  # in quarantine; the other paths are none the worse
            records.append(made)
        return records

    def _path(
        self,
        item: Item,
        picture: Image.Image,
        chat: list[Message],
        tree: ReasoningTree,
        path: TreePath,
        things: list[OutlinedThing],
        number: int,
    ) -> Any:
        """The record of one path."""
        settings = self.settings
        made_up = [thing.label for thing in things if thing.is_made_up]
        asked = prompt(
            "prist_dialogue",
            leaf=path.leaf,
            focus=path.focus,
            question=path.question,
            least=str(settings.fewest_turns),
            most=str(settings.most_turns),
        )
        # A copy: paths branch off one chat, and no dialogue may see another one's.
        chat = [*chat, Message("user", (asked,))]
        rounds: list[Round] = yield self._ask(
            "dialogue",
            chat,
            Dialogue,
            lambda reply: check_dialogue(
                reply, path.focus, fewest=settings.fewest_turns, most=settings.most_turns, labels=made_up
            ),
        )
        target, made_by = Target(path.focus, None), "none"
        if things:
            # There is one: `check_tree` refuses a path that ends in no outlined thing.
            region = next(t.region for t in things if folded(t.label) == folded(path.element))
            target = Target(path.focus, region.rle, region.kind, region.source_label)
            made_by = "annotated"
        elif self.source.mask_from_box is not None:
            chat += [_said(Dialogue(turns=rounds)), Message("user", (prompt("prist_box", focus=path.focus),))]
            mask = yield self._ask("box", chat, BoxReply, lambda reply: self._drawn(picture, reply))
            target = Target(path.focus, mask)
            made_by = f"drawn by {self.source.mask_maker} from a box of the chat model"
        return self._record(item, picture, tree, path, rounds, target, made_by, number)

    def _drawn(self, picture: Image.Image, reply: BoxReply) -> RLE:
        """The mask for a box; a box in which nothing can be outlined is asked for again."""
        assert self.source.mask_from_box is not None
        left, top, right, bottom = check_box(reply)
        width, height = picture.size
        # Shares of the sides to pixels of the original: the model has seen a smaller picture (`side`).
        rle = self.source.mask_from_box(picture, (left * width, top * height, right * width, bottom * height))
        if not area(rle):
            raise broken("no mask", f"nothing can be outlined in the box {reply.box}; look again")
        return rle

    def _record(
        self,
        item: Item,
        picture: Image.Image,
        tree: ReasoningTree,
        path: TreePath,
        rounds: list[Round],
        target: Target,
        made_by: str,
        number: int,
    ) -> dict[str, Any]:
        settings = self.settings
        id = f"prist/{settings.split}/{item.id}/{number}"
        seed = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")
        image = ImageRef(
            image_id=f"prist:{item.id}",
            path=relative_path(item.payload, self.source.out),
            height=picture.height,
            width=picture.width,
        )
        said = [s for r in rounds for s in (Said("user", r.question), Said("assistant", r.answer))]
        meta: Meta = {
            "question": path.question,
            "rating": path.rating,
            "thoughts": [node.thought for node in tree.way_to(path.leaf)],
            "leaf": path.leaf,
            "tree": tree.model_dump(),
            "masks": made_by,
            "generator": "chat model",
        }
        rng = np.random.default_rng((settings.seed, seed))
        return finished(id, settings.split, image, said, target, rng, meta).to_json()

    def _things(self, item: Item) -> list[OutlinedThing]:
        """The outlined things; an image of an annotated job without enough of them is no use."""
        if not self.source.annotated:
            return []
        annotated = self.source.annotated.get(item.id)
        things = [] if annotated is None else outlined_things(annotated)
        if len(things) < self.settings.paths:
            raise UnusableItemError(
                f"{len(things)} things are outlined well enough, and {self.settings.paths} are needed"
            )
        return things

    def _tree_prompt(self, item: Item, things: list[OutlinedThing]) -> str:
        caption = self.source.captions.get(item.id, "")
        return prompt(
            "prist_tree",
            paths=str(self.settings.paths),
            rule=", which has to be one of the outlined things" if things else "",
            caption=f"\nThe picture's caption, for what it is worth: {caption}" if caption else "",
        )

    def _ask(
        self, step: str, chat: list[Message], shape: type[BaseModel], check: Callable[[Any], Any]
    ) -> Ask:
        sampling: dict[str, float | int] = {"temperature": self.settings.temperature}
        return Ask(step, tuple(chat), shape, check, self.settings.max_tokens, sampling)


def _said(reply: BaseModel) -> Message:
    """An accepted reply as the model's own turn, in one way of writing, whatever the model's was."""
    return Message("assistant", (json.dumps(reply.model_dump(), ensure_ascii=False),))


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(scale * length)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
