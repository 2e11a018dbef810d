"""A page of statistics about PRIST-like conversations: counts, lengths, targets, rejects, and some examples.

One HTML file without anything from elsewhere: bars are drawn by the browser, pictures are in the file.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue import masks
from segue.errors import ImageError
from segue.images import load_image
from segue.records import Conversation

_EXAMPLES, _PICTURE_SIDE = 8, 320
_SHARES = ((0.01, "below 1 %"), (0.05, "1 to 5 %"), (0.2, "5 to 20 %"), (2.0, "20 % and more"))
_TINT = np.array((255, 64, 0), dtype=np.float64)


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
            "target_sizes": dict(self.sizes.most_common()),
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
    sections = [_tables(statistics.to_json()), _rejects(report)]
    sections += ["<h2>Examples</h2>", *(_example(example, root) for example in examples)]
    page = _PAGE.replace("$body", "\n".join(sections))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(page, encoding="utf-8")
    os.replace(unfinished, path)
    return statistics


def report_beside(path: Path) -> dict[str, Any] | None:
    """The `report.json` beside a file of records; None where there is none that can be read."""
    try:
        content = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _tables(content: Mapping[str, Any]) -> str:
    means = content["mean_words"]
    facts = [
        f"{content['conversations']} dialogues about {content['images']} images",
        f"{content['exchanges']} rounds besides those with the mask",
        f"words: {means['question']:.1f} a question, {means['answer']:.1f} an answer, "
        f"{means['focus']:.1f} a focus",
    ]
    titles = {
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
    bars = "".join(_bars(title, content[name]) for name, title in titles.items() if content[name])
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return f"<ul>{listed}</ul><div class=tables>{bars}</div>"


def _bars(title: str, counts: Mapping[str, int]) -> str:
    most = max(counts.values())
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td><div style='width:{160 * count / most:.0f}px'></div></td>"
        f"<td>{count}</td></tr>"
        for name, count in counts.items()
    )
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _rejects(report: Mapping[str, Any] | None) -> str:
    if not report or not report.get("rejects"):
        return ""
    counts = {str(rule): int(count) for rule, count in report["rejects"].items()}
    return f"<h2>Rejected</h2><div class=tables>{_bars('By broken rule', counts)}</div>"


def _example(conversation: Conversation, root: Path) -> str:
    turns = "".join(
        f"<p class={escape(turn.role)}>{_marked(turn.text, turn.spans)}</p>" for turn in conversation.turns
    )
    thoughts = "".join(
        f"<li>{escape(str(thought))}</li>" for thought in conversation.meta.get("thoughts", ())
    )
    picture = _picture(conversation, root)
    return (
        f"<section>{picture}<div><h3>{escape(conversation.id)}</h3>{turns}"
        f"<details><summary>reasoning</summary><ol>{thoughts}</ol></details></div></section>"
    )


def _marked(text: str, spans: Sequence[Any]) -> str:
    pieces, done = [], 0
    for span in spans:
        pieces += [escape(text[done : span.start]), f"<mark>{escape(text[span.start : span.end])}</mark>"]
        done = span.end
    return "".join([*pieces, escape(text[done:])])


def _picture(conversation: Conversation, root: Path) -> str:
    """The image with its target tinted, inside the page; a remark where it is missing."""
    image = conversation.images[0]
    try:
        pixels = np.asarray(load_image(root / image.path), dtype=np.float64)
    except ImageError:
        return "<div class=missing>image not at hand</div>"
    target = target_of(conversation)
    if target is not None and target.mask is not None and target.mask["size"] == list(pixels.shape[:2]):
        inside = masks.decode(target.mask)
        pixels = pixels * np.where(inside, 0.45, 0.8)[..., None] + inside[..., None] * 0.55 * _TINT
    small = Image.fromarray(pixels.astype(np.uint8))
    small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=85)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"<img src='data:image/jpeg;base64,{coded}' alt='{escape(conversation.id, quote=True)}'>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Dialogues</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
.tables { display: flex; flex-wrap: wrap; gap: 2rem; }
caption { font-weight: 600; text-align: left; padding: .4rem 0; }
td { padding: 0 .6rem 0 0; } td div { background: #47a; height: .8em; }
section { display: flex; gap: 1.5rem; margin: 1.5rem 0; border-top: 1px solid #ccc; padding-top: 1rem; }
section img, .missing { width: 320px; align-self: flex-start; } .missing { color: #777; }
p { margin: .2rem 0; } .user { color: #235; font-weight: 600; } mark { background: #fc9; }
</style></head><body><h1>Dialogues</h1>
$body
</body></html>
"""
