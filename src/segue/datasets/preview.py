"""A page of conversations from a `gconv/1` file, for people to check: images, coloured masks and phrases.

The page holds everything itself (pictures are data inside it) and asks for nothing. It is written card by
card: one conversation is in memory at a time, however large the file is.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image
from rich.progress import track

from segue import masks
from segue.data.formats.image_folder import ImageFolder
from segue.datasets.m4seg.region_store import IMAGES, RegionStore
from segue.errors import InputError, RecordError, SegueError
from segue.files import atomic_writer
from segue.images import load_image
from segue.inference.report import css_colour, data_url, mask_url, ratio_style
from segue.inference.visualize import colour, hatching, ink_on
from segue.masks import Mask, resize_mask
from segue.records import Conversation, Region, Span, Turn

LONGEST_SIDE = 640
"""Pixels of a picture in the page: two dozen conversations stay a few megabytes."""
_LONGEST_META = 4000
_PAPER = (226, 226, 222)
_DIAGONALS = 1
"""Of the patterns of `hatching`, that of what is pointed at."""
_BOX = "\u25a0"

_Target = tuple[tuple[str, ...], ...]
"""The masks of a phrase, each as the rids that it unites."""


@dataclass
class PreviewSummary:
    """Numbers of a page: records shown, and problems met.

    Attributes:
        shown: Conversations on the page.
        total: Records in the file.
        problems: What could not be shown, one sentence each.
    """

    shown: int = 0
    total: int = 0
    problems: list[str] = field(default_factory=list)


def write_preview(
    path: str | Path,
    out: Path,
    *,
    images: str | Path | None = None,
    count: int = 24,
    seed: int = 0,
    store: str | Path | None = None,
) -> PreviewSummary:
    """Draw conversations at random and write the page; it appears complete or not at all.

    Args:
        path: A `gconv/1` file.
        out: The HTML file.
        images: Folder that image paths are relative to; by default that of the file.
        count: How many conversations; all of them when there are fewer.
        seed: Of the draw: the same seed shows the same ones.
        store: Folder of the build that holds the masks of records which only refer to them; by default the
            file's own, where it is such a folder.

    Returns:
        What is shown, and what could not be.

    Raises:
        InputError: There is no such file or folder, or no record in the file that can be read.
    """
    path = Path(path)
    root = path.parent if images is None else Path(images)
    for place, is_there in ((path, path.is_file()), (root, root.is_dir())):
        if not is_there:
            raise InputError(
                "There is nothing to show.",
                expected="a gconv/1 file, and the folder of its images",
                found="the other of the two" if place.exists() else "nothing of that name",
                where=str(place),
                fix="check the path; a build keeps its records in train.jsonl and test.jsonl",
            )
    chosen, total = _draw_lines(path, count, seed)
    if not total:
        raise InputError(
            "There is nothing to show.",
            expected="at least one record",
            found="an empty file",
            where=str(path),
        )
    summary = PreviewSummary(total=total)
    folder = ImageFolder(root)
    build = path.parent if store is None else Path(store)
    # A build that keeps its masks by reference has them beside its records.
    regions = RegionStore(build) if store is not None or (build / IMAGES).is_dir() else None
    with atomic_writer(out) as page:
        page.write(_head(path, len(chosen), seed, summary))
        for piece in _cards(path, chosen, folder, regions, summary):
            page.write(piece)
        # Only the half before the cards has fields; cards are never put through the template, since their
        # texts may hold "$".
        page.write(_template().template.split("$cards")[1])
        # Inside the block: an empty page must not take the place of an older one.
        if not summary.shown:
            raise InputError(
                "There is nothing to show.",
                expected="lines of gconv/1",
                found=f"none that can be read among {len(chosen)}; the first: {summary.problems[0]}",
                where=str(path),
                fix="check that it is the file of conversations",
            )
    return summary


def _draw_lines(path: Path, count: int, seed: int) -> tuple[list[tuple[int, int]], int]:
    """(line number, first byte) of the lines drawn, in the order of the file; and how many there are."""
    starts: list[tuple[int, int]] = []
    rng = np.random.default_rng(seed)
    seen = offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            seen += 1
            # A reservoir: every line so far is in it with the same probability.
            if len(starts) < count:
                starts.append((number, start))
            elif (place := int(rng.integers(seen))) < count:
                starts[place] = (number, start)
    return sorted(starts), seen


def _head(path: Path, shown: int, seed: int, summary: PreviewSummary) -> str:
    note = f"{shown} of {summary.total:,} conversations"
    if shown < summary.total:
        note += f", drawn with seed {seed}"
    before = Template(_template().template.split("$cards")[0])
    return before.substitute(title=html.escape(path.name), note=note)


def _cards(
    path: Path,
    chosen: Sequence[tuple[int, int]],
    folder: ImageFolder,
    store: RegionStore | None,
    summary: PreviewSummary,
) -> Iterator[str]:
    """The HTML of the conversations that begin at these lines and bytes."""
    with path.open("rb") as file:
        for number, start in track(chosen, description="preview", transient=True, disable=len(chosen) < 9):
            file.seek(start)
            try:
                # Some editors put a byte order mark before the first line.
                line = file.readline().decode("utf-8-sig")
                record = Conversation.from_json(line.rstrip("\r\n"), where=f"{path.name}:{number}")
            except (RecordError, UnicodeDecodeError) as error:
                summary.problems.append(f"{path.name}:{number} is not shown: {str(error).splitlines()[0]}")
                yield f'<p class="broken">{html.escape(summary.problems[-1])}</p>\n'
                continue
            yield from _card(_with_masks(record, store), number, folder, summary)
            summary.shown += 1


def _with_masks(record: Conversation, store: RegionStore | None) -> Conversation:
    """The record with the masks that the store has of what is named; what it lacks is said on the card."""
    if store is None:
        return record
    named = {rid for turn in record.turns for span in turn.spans for rid in span.rids}
    regions = []
    for region in record.regions:
        if region.rid in named and region.mask_ref is not None:
            with suppress(RecordError):
                mask = store.mask(region.mask_ref)
                region = region.model_copy(update={"mask": mask, "mask_ref": None})
        regions.append(region)
    return record.model_copy(update={"regions": regions})


@cache
def _template() -> Template:
    return Template(resources.files("segue.datasets").joinpath("preview.html").read_text(encoding="utf-8"))


# ---- one conversation ------------------------------------------------------------------------------------


def _card(record: Conversation, line: int, folder: ImageFolder, summary: PreviewSummary) -> Iterator[str]:
    """The HTML of one conversation, piece by piece: pictures are large."""
    numbers = _phrase_numbers(record)
    remarks: list[str] = []
    yield f'<article id="line{line}"><header><b>{html.escape(record.id)}</b> '
    yield f"<span>{record.task} \u00b7 {record.split} \u00b7 line {line}</span></header>\n"
    yield '<div class="figures">\n'
    for index in range(len(record.images)):
        yield _figure(record, index, numbers, folder, remarks)
    yield "</div>\n"
    for turn in record.turns:
        yield f'<p class="{turn.role}">{_phrases(record, turn, numbers)}</p>\n'
    if remarks:
        listed = "".join(f"<li>{html.escape(remark)}</li>" for remark in dict.fromkeys(remarks))
        yield f'<ul class="remarks">{listed}</ul>\n'
        summary.problems += [f"line {line}: {remark}" for remark in dict.fromkeys(remarks)]
    if record.meta:
        text = json.dumps(record.meta, ensure_ascii=False, indent=1)
        short = text if len(text) <= _LONGEST_META else text[:_LONGEST_META] + "\u2026"
        yield f"<details><summary>meta</summary><pre>{html.escape(short)}</pre></details>\n"
    yield "</article>\n"


def _target(span: Span) -> _Target:
    return (tuple(span.rids),) if span.merge == "union" else tuple((rid,) for rid in span.rids)


def _phrase_numbers(record: Conversation) -> dict[_Target, int]:
    """A number, hence a colour, for each different set of masks, in order of appearance; none for no masks.

    What is named again in a later turn keeps its colour.
    """
    numbers: dict[_Target, int] = {}
    for turn in record.turns:
        for span in turn.spans:
            if span.rids:
                numbers.setdefault(_target(span), len(numbers))
    return numbers


def _pointed_at(record: Conversation) -> set[_Target]:
    """What questions point at."""
    return {_target(span) for turn in record.turns if turn.role == "user" for span in turn.spans if span.rids}


def _phrases(record: Conversation, turn: Turn, numbers: dict[_Target, int]) -> str:
    """The escaped text, each phrase in its colour with its images; a mask without a phrase is a small box."""
    parts, done = [], 0
    for span in turn.spans:
        parts.append(html.escape(turn.text[done : span.start]))
        done = span.end
        phrase = html.escape(turn.text[span.start : span.end])
        if not span.rids:
            parts.append(f'<span class="ungrounded" title="left without a mask on purpose">{phrase}</span>')
            continue
        number = numbers[_target(span)]
        tint = colour(number)
        shown = sorted({record.region(rid).image_index + 1 for rid in span.rids})
        where = ",".join(map(str, shown))
        kind = "phrase pointing" if turn.role == "user" else "phrase"
        parts.append(
            f'<span class="{kind}" tabindex="0" data-phrase="{number}" '
            f'style="--tint: {css_colour(tint)}; --ink: {css_colour(ink_on(tint))}" '
            f'title="{html.escape(_described(record, span), quote=True)}">{phrase or _BOX}'
            f'<span class="where" aria-label="image {where}">{where}</span></span>'
        )
    return "".join(parts) + html.escape(turn.text[done:])


def _described(record: Conversation, span: Span) -> str:
    """Name the spans' regions as the record does: "cat 101, cat's ear 10101 (one mask)"."""
    names = [" ".join(filter(None, (r.name, r.code))) for r in map(record.region, span.rids)]
    return ", ".join(names) + (" (one mask)" if span.merge == "union" and len(names) > 1 else "")


# ---- one image -------------------------------------------------------------------------------------------


def _figure(
    record: Conversation, index: int, numbers: dict[_Target, int], folder: ImageFolder, remarks: list[str]
) -> str:
    reference = record.images[index]
    picture = _picture(record, index, folder, remarks)
    hw = (picture.height, picture.width)
    pointed_at = _pointed_at(record)
    layers, note = [], ""
    for target, number in numbers.items():
        for rids in target:
            regions = [record.region(rid) for rid in rids]
            inside = [region for region in regions if region.image_index == index]
            if (mask := _mask(inside, remarks)) is not None:
                label = html.escape(", ".join(region.name for region in inside), quote=True)
                lines = None
                if target in pointed_at:
                    lines, note = hatching(_DIAGONALS, hw), " <small>hatched: what is pointed at</small>"
                url = mask_url(resize_mask(mask, hw), colour(number), lines)
                layers.append((int(mask.sum()), number, label, url))
    # Large masks below, so that a part stays visible on its object.
    layers.sort(key=lambda layer: -layer[0])
    stack = "".join(
        f'<img class="mask" data-phrase="{number}" src="{url}" alt="{label}">'
        for _, number, label, url in layers
    )
    name = html.escape(reference.image_id)
    size = f"{reference.width} \u00d7 {reference.height}" if reference.width else "size not in the record"
    url = data_url(picture, "JPEG")
    return (
        f'<figure style="{ratio_style(hw)}"><div class="stack">'
        f'<img src="{url}" width="{hw[1]}" height="{hw[0]}" alt="image {index + 1}">{stack}</div>'
        f"<figcaption><b>image {index + 1}</b> {name} <small>{size}</small>{note}</figcaption></figure>\n"
    )


def _picture(record: Conversation, index: int, folder: ImageFolder, remarks: list[str]) -> Image.Image:
    """The image at the page's size; plain paper where it cannot be shown."""
    reference = record.images[index]
    path = folder.find(reference.path)
    known = (reference.height, reference.width) if reference.height else _mask_hw(record, index)
    if path is None:
        remarks.append(f"image {index + 1} is not there: {reference.path}")
    else:
        try:
            picture = load_image(path)
        except SegueError as error:
            remarks.append(f"image {index + 1} cannot be shown: {error.summary}")
        else:
            if known is not None and (picture.height, picture.width) != known:
                found = f"{picture.width} x {picture.height}, the record says {known[1]} x {known[0]}"
                remarks.append(f"image {index + 1} has another size than its record: {found}")
            return _shrunk(picture)
    # PIL takes (width, height).
    return _shrunk(Image.new("RGB", (known or (240, 320))[::-1], _PAPER))


def _mask_hw(record: Conversation, index: int) -> tuple[int, int] | None:
    """The size that the masks of an image have, where the record does not state the image's."""
    sizes = (region.mask["size"] for region in record.regions if region.mask and region.image_index == index)
    size = next(sizes, None)
    return None if size is None else (size[0], size[1])


def _shrunk(picture: Image.Image) -> Image.Image:
    scale = min(1.0, LONGEST_SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.HAMMING)


def _mask(regions: Sequence[Region], remarks: list[str]) -> Mask | None:
    """The union of the regions' masks; None, and a remark, where there is none to show."""
    if not regions:
        return None
    found = []
    for region in regions:
        if region.mask is None:
            where = f"it is kept as {region.mask_ref}" if region.mask_ref else "the file has none"
            remarks.append(f"{region.name} ({region.rid}) has no mask to show: {where}")
        else:
            found.append(masks.decode(region.mask))
    return masks.union(found) if found else None
