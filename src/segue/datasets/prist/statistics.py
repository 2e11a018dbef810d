"""A page of statistics about PRIST-like conversations: counts, lengths, targets, rejects, and some examples.

One HTML file without anything from elsewhere: bars are drawn by the browser, pictures are in the file.
"""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from segue import masks
from segue.errors import ImageError, InputError
from segue.files import write_atomic
from segue.images import load_image
from segue.records import Conversation

_EXAMPLES, _PICTURE_SIDE = 8, 360
# The last bound is above every share, so each target finds its class.
_SHARES = ((0.01, "below 1 %"), (0.05, "1 to 5 %"), (0.2, "5 to 20 %"), (2.0, "20 % and more"))
_SIZES = (*(name for _, name in _SHARES), "no mask")
_TINT = (239, 71, 58)
_DIMMED = 0.4
"""Brightness of what is not the target; the target keeps its own colours, which dialogues speak of."""


@dataclass
class PristStatistics:
    """Counts over conversations.

    Attributes:
        conversations: How many.
        images: Different images.
        exchanges: Rounds, those with the mask left out.
        words: "question", "answer", "focus" -> number of words of each.
        rounds: Number of rounds -> conversations.
        sizes: Share of the image that targets cover, in classes; "no mask" for those without.
        masks: Where masks come from.
        kinds: What targets are: object, part or region.
        first_words: Of questions.
        steps: Of rule-based dialogues, by name.
        depths: Thoughts on the way to the leaf.
        splits: By split.
        focuses: The most frequent ones.
    """

    conversations: int = 0
    images: set[str] = field(default_factory=set)
    exchanges: int = 0
    words: dict[str, list[int]] = field(default_factory=lambda: {"question": [], "answer": [], "focus": []})
    rounds: Counter[int] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first_words: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    focuses: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation) -> None:
        """Count one conversation; its last two turns are the request and the answer with the mask."""
        self.conversations += 1
        self.images.add(conversation.images[0].image_id)
        self.splits[conversation.split] += 1
        before = conversation.turns[:-2]
        self.rounds[len(before) // 2] += 1
        self.exchanges += len(before) // 2
        for turn in before:
            self.words["question" if turn.role == "user" else "answer"].append(len(turn.text.split()))
            if turn.role == "user" and turn.text.split():
                self.first_words[turn.text.split()[0].lower().strip(",")] += 1
        meta, target = conversation.meta, target_of(conversation)
        focus = str(meta.get("focus", ""))
        self.words["focus"].append(len(focus.split()))
        self.focuses[focus.lower()] += 1
        self.masks[str(meta.get("masks", "unknown"))] += 1
        self.steps.update(str(step) for step in meta.get("steps", ()))
        if meta.get("thoughts"):
            self.depths[len(meta["thoughts"])] += 1
        self.kinds[target.kind if target is not None else "none"] += 1
        if target is None or target.mask is None:
            self.sizes["no mask"] += 1
            return
        height, width = target.mask["size"]
        share = masks.area(target.mask) / (height * width)
        self.sizes[next(name for bound, name in _SHARES if share < bound)] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "conversations": self.conversations,
            "images": len(self.images),
            "exchanges": self.exchanges,
            "mean_words": {name: round(float(np.mean(n)), 2) if n else 0.0 for name, n in self.words.items()},
            "rounds": {str(n): count for n, count in sorted(self.rounds.items())},
            "thoughts": {str(n): count for n, count in sorted(self.depths.items())},
            "target_sizes": {name: self.sizes[name] for name in _SIZES if self.sizes[name]},
            "target_kinds": dict(self.kinds.most_common()),
            "masks": dict(self.masks.most_common()),
            "splits": dict(self.splits.most_common()),
            "first_words": dict(self.first_words.most_common(12)),
            "steps": dict(self.steps.most_common()),
            "focuses": dict(self.focuses.most_common(20)),
        }


def target_of(conversation: Conversation) -> Any:
    """The region of the last answer's mask; None when it has none."""
    spans = conversation.turns[-1].spans
    return conversation.region(spans[-1].rids[0]) if spans and spans[-1].rids else None


def write_page(
    path: Path, conversations: Iterable[Conversation], root: Path, report: Mapping[str, Any] | None = None
) -> PristStatistics:
    """Count conversations and write the page; it appears complete or not at all.

    Args:
        path: The HTML file.
        conversations: Read once.
        root: Folder that image paths are relative to; examples without their image stay without.
        report: `report.json` of the generation, whose rejects are shown too.

    Raises:
        InputError: There is no conversation.
    """
    statistics = PristStatistics()
    examples: list[Conversation] = []
    for conversation in conversations:
        statistics.add(conversation)
        # Spread over the file without knowing its length: each later one replaces an earlier one ever rarer.
        if len(examples) < _EXAMPLES:
            examples.append(conversation)
        elif statistics.conversations % (1 << (statistics.conversations.bit_length() - 4)) == 0:
            examples = [*examples[1:], conversation]
    if not statistics.conversations:
        raise InputError(
            "There is nothing to count.",
            expected="at least one gconv/1 record",
            found="none",
            where=f"the records for {path}",
            fix="check the file, or go on with the build that writes it",
        )
    content = statistics.to_json()
    page = _template().substitute(
        title=f"Dialogues: {escape(path.resolve().parent.name)}",
        tint=" ".join(map(str, _TINT)),
        side=f"{_PICTURE_SIDE}px",
        facts="\n".join(f"<li>{escape(fact)}</li>" for fact in _facts(content)),
        tables="\n".join(_bars(title, content[name]) for name, title in _TITLES.items() if content[name]),
        rejects=_rejects(report),
        examples="\n".join(_example(example, root) for example in examples),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page)
    return statistics


def report_beside(path: Path) -> dict[str, Any] | None:
    """The `report.json` beside a file of records; None where there is none that can be read."""
    try:
        content = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@cache
def _template() -> Template:
    return Template(
        resources.files("segue.datasets.prist").joinpath("statistics.html").read_text(encoding="utf-8")
    )


_TITLES = {
    "rounds": "Rounds before the mask",
    "thoughts": "Thoughts on the way to the target",
    "target_sizes": "Share of the image that the target covers",
    "target_kinds": "What targets are",
    "masks": "Where masks come from",
    "splits": "Splits",
    "first_words": "First words of questions",
    "steps": "Steps of rule-based dialogues",
    "focuses": "Most frequent targets",
}


def _facts(content: Mapping[str, Any]) -> list[str]:
    means = content["mean_words"]
    return [
        f"{content['conversations']:,} dialogues about {content['images']:,} images",
        f"{content['exchanges']:,} rounds besides those with the mask",
        f"words: {means['question']:.1f} a question, {means['answer']:.1f} an answer, "
        f"{means['focus']:.1f} a focus",
    ]


def _bars(title: str, counts: Mapping[str, int]) -> str:
    most = max(counts.values())
    rows = "".join(
        f'<tr><td>{escape(str(name))}</td><td><i style="width: {100 * count / most:.1f}%"></i></td>'
        f"<td>{count:,}</td></tr>"
        for name, count in counts.items()
    )
    # A heading cell, since a caption would stand outside the frame.
    return f'<table><tr><th colspan="3">{escape(title)}</th></tr>{rows}</table>'


def _rejects(report: Mapping[str, Any] | None) -> str:
    if not report or not report.get("rejects"):
        return ""
    counts = {str(rule): int(count) for rule, count in report["rejects"].items()}
    return f'<h2>Rejected</h2><div class="tables">{_bars("By broken rule", counts)}</div>'


def _example(conversation: Conversation, root: Path) -> str:
    turns = "".join(
        f'<p class="{turn.role}">{_marked(turn.text, turn.spans)}</p>\n' for turn in conversation.turns
    )
    thoughts = "".join(
        f"<li>{escape(str(thought))}</li>" for thought in conversation.meta.get("thoughts", ())
    )
    reasoning = f"<details><summary>reasoning</summary><ol>{thoughts}</ol></details>" if thoughts else ""
    return (
        f"<article>{_picture(conversation, root)}\n"
        f"<div><h3>{escape(conversation.id)}</h3>\n{turns}{reasoning}</div></article>"
    )


def _marked(text: str, spans: Sequence[Any]) -> str:
    pieces, done = [], 0
    for span in spans:
        phrase = f'<span class="phrase">{escape(text[span.start : span.end])}</span>'
        pieces += [escape(text[done : span.start]), phrase]
        done = span.end
    return "".join([*pieces, escape(text[done:])])


def _picture(conversation: Conversation, root: Path) -> str:
    """The image inside the page, everything but its target dimmed; a remark where it is missing."""
    image = conversation.images[0]
    try:
        picture = load_image(root / image.path).convert("RGB")
    except ImageError:
        return '<div class="missing">image not at hand</div>'
    # Before `thumbnail`, which changes the picture in place.
    hw, target = [picture.height, picture.width], target_of(conversation)
    picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    if target is not None and target.mask is not None and target.mask["size"] == hw:
        picture = _spotlight(picture, masks.decode(target.mask))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{coded}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(str(conversation.meta.get("focus", "the image")), quote=True)}">'
    )


def _spotlight(picture: Image.Image, mask: masks.Mask) -> Image.Image:
    """A picture with what lies outside a mask, bool `[H, W]` of any size, dimmed, and its outline drawn."""
    # Any pixel that the mask touches counts, so that a tiny target does not vanish.
    shown = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    inside = np.asarray(shown) > 0
    core = np.asarray(Image.fromarray(inside.astype(np.uint8)).filter(ImageFilter.MinFilter(5))) > 0
    pixels = np.asarray(picture) * np.where(inside, 1.0, _DIMMED)[..., None]
    pixels[inside & ~core] = _TINT
    return Image.fromarray(pixels.round().astype(np.uint8))
