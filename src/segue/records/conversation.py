"""The record `gconv/1`: what it consists of, what must hold, and its JSON form.

Offsets count Unicode code points of the clean text. A span with start == end is a mask without a phrase
("It is ." + (6, 6)); `merge` says whether several regions of a span are several masks ("each", the default)
or one ("union"); a span without regions is a phrase that is left ungrounded on purpose.

Constructing any of these classes with wrong values raises RecordError; all are frozen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from segue import masks
from segue.errors import InputError, RecordError
from segue.masks import RLE
from segue.records.file_form import MAX_IMAGES, SCHEMA, from_file
from segue.records.meta import Meta, TurnMeta, turn_meta
from segue.records.strict import StrictRecord

Task = Literal[
    "m4seg", "prist", "reasonseg", "refseg", "grefseg", "gcg", "semseg", "muse", "vqa", "scenes", "photos"
]
Split = Literal["train", "val", "test", "testA", "testB", "heldout"]
TASKS: tuple[str, ...] = get_args(Task)
SPLITS: tuple[str, ...] = get_args(Split)

Number = Annotated[float, Field(allow_inf_nan=False)] | int
"""Kept as it was written: 124 stays 124, so that a file comes back unchanged."""


def _writable(text: str) -> str:
    """Refuse half of a surrogate pair: JSON may carry one as an escape, but no UTF-8 file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("Input should be text that can be written as UTF-8") from None
    return text


# For the type checker the notes that our builders write; in files of others `meta` may be any JSON object.
if TYPE_CHECKING:
    _FreeMeta = Meta
else:
    _FreeMeta = dict[str, Any]

WRITABLE = AfterValidator(_writable)
Text = Annotated[str, WRITABLE]


class ImageRef(StrictRecord):
    """One image of a conversation.

    Args:
        image_id: `dataset:name`, stable across builds.
        path: Where the image lies, relative to the folder of the dataset or of the file.
        height: Pixels after EXIF orientation; 0 while unknown.
        width: As `height`.
    """

    image_id: Annotated[str, Field(pattern=r"^[a-z0-9_]+:.+$"), WRITABLE]
    path: Text
    height: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=0)]


class Region(StrictRecord):
    """An object, a part of one, or any other area of one image.

    Args:
        rid: Name within the conversation, such as "i1o2p1".
        image_index: 0-based image it lies in (`image`, 1-based, in files).
        kind: object, part or region.
        name: What it is called.
        parent: For a part, the rid of its object.
        code: M4SEG's number: image digit, two digits for the object, two more for a part.
        bbox: `[x, y, width, height]` in pixels.
        area: Pixels of the mask.
        mask: COCO RLE, or None when the mask is not at hand.
        mask_ref: Where the mask is found instead, `dataset:name#key`; then there is no `mask`.
        source_label: The label in the source dataset.
    """

    rid: Annotated[str, Field(min_length=1), WRITABLE]
    image_index: Annotated[int, Field(ge=0, lt=MAX_IMAGES)]
    kind: Literal["object", "part", "region"]
    name: Text
    parent: str | None = None
    code: Annotated[str, Field(pattern=r"^[1-9][0-9]{2}([0-9]{2})?$"), WRITABLE] | None = None
    bbox: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = None
    area: Annotated[int, Field(ge=0)] | None = None
    mask: RLE | None = None
    mask_ref: Annotated[str, Field(pattern=r"^[a-z0-9_]+:.+#.+$"), WRITABLE] | None = None
    source_label: Text | None = None

    optional_fields: ClassVar[frozenset[str]] = frozenset(
        {"parent", "code", "bbox", "area", "mask_ref", "source_label"}
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mask is not None and self.mask_ref is not None:
            raise RecordError(
                "A region has two masks.",
                expected="mask or mask_ref",
                found="both",
                where=f"region {self.rid!r}",
                fix="keep the one that the file is built for: mask inline, mask_ref for large builds",
            )
        if self.mask is not None:
            _check_mask(self.mask, f"region {self.rid!r}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: exactly one of `mask` (may be null) and `mask_ref`."""
        written = super().to_json()
        if self.mask_ref is not None:
            del written["mask"]
        # A file may say `parent: null`, and must come back as it was.
        if self.parent is None and "parent" in self.model_fields_set:
            written["parent"] = None
        return written


class Span(StrictRecord):
    """A range of a turn's text that regions belong to; `merge` None means "each"."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    rids: list[str]
    merge: Literal["each", "union"] | None = None

    optional_fields: ClassVar[frozenset[str]] = frozenset({"merge"})


class Turn(StrictRecord):
    """One turn: tag-free text, its spans, and other wordings with the same meaning."""

    role: Literal["system", "user", "assistant"]
    text: Text
    spans: list[Span] = Field(default_factory=list)
    alternatives: list[Text] = Field(default_factory=list)

    optional_fields: ClassVar[frozenset[str]] = frozenset({"spans", "alternatives"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        done = 0
        for number, span in enumerate(self.spans):
            # A span may begin where the one before ends, and a bare mask (start == end) may stand at a
            # border.
            if not done <= span.start <= span.end <= len(self.text):
                raise RecordError(
                    "A span does not fit its text.",
                    expected=f"{done} <= start <= end <= {len(self.text)}, in order and not overlapping",
                    found=f"({span.start}, {span.end})",
                    where=f"span {number} of the turn {self.text[:40]!r}",
                    fix="count Unicode code points of the tag-free text, and sort the spans by start",
                )
            done = span.end
        return self


class IgnoredArea(StrictRecord):
    """Pixels of one image that metrics leave out."""

    image_index: Annotated[int, Field(ge=0, lt=MAX_IMAGES)]
    mask: RLE

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_mask(self.mask, "ignored area")
        return self


class Conversation(StrictRecord):
    """A grounded conversation over one to nine images.

    Args:
        id: Unique within its dataset.
        task: One of `TASKS`.
        split: One of `SPLITS`.
        images: In the order in which the text numbers them.
        regions: Everything that spans may name.
        turns: At least two.
        ignore: Areas that metrics leave out.
        meta: Whatever the builder wants to keep; see `Meta` for the names in use.
    """

    id: Annotated[str, Field(min_length=1), WRITABLE]
    task: Task
    split: Split
    images: Annotated[list[ImageRef], Field(min_length=1, max_length=MAX_IMAGES)]
    regions: list[Region]
    turns: Annotated[list[Turn], Field(min_length=2)]
    ignore: list[IgnoredArea] = Field(default_factory=list)
    meta: _FreeMeta = Field(default_factory=Meta)

    optional_fields: ClassVar[frozenset[str]] = frozenset({"ignore", "meta"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        known: dict[str, Region] = {}
        for region in self.regions:
            if region.rid in known:
                raise self._wrong("Two regions have one rid.", "unique rids", repr(region.rid), "regions")
            known[region.rid] = region
            self._check_image(region.image_index, region.mask, f"region {region.rid!r}")
        # A second pass: a part may stand before its object.
        for region in self.regions:
            parent = known.get(region.parent) if region.parent is not None else region
            if parent is None or parent.image_index != region.image_index:
                raise self._wrong(
                    "A region's parent is not there.",
                    "the rid of a region in the same image",
                    repr(region.parent),
                    f"region {region.rid!r}",
                )
        for number, area in enumerate(self.ignore):
            self._check_image(area.image_index, area.mask, f"ignore {number}")
        for number, turn in enumerate(self.turns):
            for rid in (rid for span in turn.spans for rid in span.rids):
                if rid not in known:
                    raise self._wrong(
                        "A span names a region that is not there.",
                        "one of " + (", ".join(known) or "no regions at all"),
                        repr(rid),
                        f"turns.{number}",
                    )
        return self

    def _check_image(self, image_index: int, mask: RLE | None, where: str) -> None:
        if image_index >= len(self.images):
            raise self._wrong(
                "An image number is too high.",
                f"an image between 1 and {len(self.images)}",
                f"image {image_index + 1} (image_index {image_index})",
                where,
            )
        image = self.images[image_index]
        # Height or width 0 is unknown: nothing to compare with.
        if mask is not None and image.height and image.width and mask["size"] != [image.height, image.width]:
            raise self._wrong(
                "A mask has another size than its image.",
                f"(height, width) ({image.height}, {image.width})",
                f"({mask['size'][0]}, {mask['size'][1]})",
                where,
            )

    def _wrong(self, summary: str, expected: str, found: str, where: str) -> RecordError:
        return RecordError(
            summary,
            expected=expected,
            found=found,
            where=f"{where} of conversation {self.id!r}",
            fix="correct the record or build the file again",
        )

    @cached_property
    def _by_rid(self) -> dict[str, Region]:
        return {region.rid: region for region in self.regions}

    def region(self, rid: str) -> Region:
        """Return the region with this rid; RecordError when there is none."""
        found = self._by_rid.get(rid)
        if found is None:
            raise self._wrong(
                "There is no such region.", "one of " + ", ".join(self._by_rid), repr(rid), "rid"
            )
        return found

    def mask_of(self, rid: str, purpose: str) -> RLE:
        """Return the inline mask of a region; RecordError, naming the purpose, when the file has none."""
        region = self.region(rid)
        if region.mask is None:
            raise RecordError(
                f"A region has no mask to {purpose}.",
                expected="an inline mask",
                found=region.mask_ref or "null",
                where=f"region {rid!r} of conversation {self.id!r}",
                fix="build the file with inline masks",
            )
        return region.mask

    def assistant_turns(self) -> list[Turn]:
        """Return the answers, in order."""
        return [turn for turn in self.turns if turn.role == "assistant"]

    def answer_meta(self, number: int) -> TurnMeta:
        """Return what the builder noted about answer `number` (0-based); see `turn_meta`."""
        return turn_meta(self.meta, number)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; `json.dumps` of it is one line of a `gconv/1` file."""
        return {"schema": SCHEMA, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str, *, where: str = "") -> Self:
        """Read one record, checking everything that the schema and the class require.

        Args:
            data: The parsed JSON object, or its text.
            where: What to call the place in errors, such as "train.jsonl:12".

        Returns:
            The conversation; its `to_json()` equals `data`.

        Raises:
            RecordError: Naming the field, what was expected and what was found.
        """
        try:
            return cls(**from_file(_read(data) if isinstance(data, str) else data))
        except RecordError as error:
            # The reader of the error looks at a file, where images count from 1 and the field is `image`.
            places = (where, error.where.replace("image_index", "image"))
            raise RecordError(
                error.summary,
                expected=error.expected,
                found=error.found,
                where=", ".join(place for place in places if place),
                fix=error.fix,
            ) from None


def _check_mask(mask: RLE, where: str) -> None:
    try:
        masks.check_rle(mask)
    except InputError as error:
        raise RecordError(
            error.summary, expected=error.expected, found=error.found, where=where, fix=error.fix
        ) from None


def _read(line: str) -> Any:
    """Parse JSON strictly: NaN and Infinity are no JSON, and a key must not be given twice."""

    # Python's `json` takes NaN and Infinity, which are no JSON.
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Python's `json` keeps the last of two equal keys without a word.
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(key for k, (key, _) in enumerate(pairs) if key in dict(pairs[:k]))
            raise ValueError(f"the field {twice!r} stands there twice")
        return found

    try:
        return json.loads(line, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            "A line is not JSON.",
            expected="one complete JSON object",
            found=f"{len(line)} characters ending in {line[-30:]!r}: {error}",
            fix="a file that was cut off while it was copied or written: get it again, or drop this line",
        ) from None
