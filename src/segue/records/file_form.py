"""From the JSON object of a file to the arguments of `Conversation`: version, numbering, null fields.

A file numbers images from 1 in `image`; records count from 0 in `image_index`. A region in a file carries
exactly one of the keys `mask` (which may be null) and `mask_ref`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.errors import RecordError
from segue.records.strict import shown

SCHEMA = "gconv/1"
MAX_IMAGES = 9

# Optional in a file, but never null there; `parent` and `mask` may be null.
_NEVER_NULL = {
    "conversation": ("ignore", "meta"),
    "region": ("code", "bbox", "area", "mask_ref", "source_label"),
    "turn": ("spans", "alternatives"),
    "span": ("merge",),
}


def from_file(data: Any) -> dict[str, Any]:
    """Convert one parsed line into keyword arguments of `Conversation`; the rest is checked there.

    Raises:
        RecordError: Not an object, another version, or a region whose `image` or `mask` keys are wrong.
    """
    if not isinstance(data, Mapping):
        raise _wrong("A record is not an object.", "a JSON object {...}", shown(data), "the whole line")
    if data.get("schema") != SCHEMA:
        raise RecordError(
            "This is not a record of a version that can be read.",
            expected=f'"schema": "{SCHEMA}"',
            found=shown(data["schema"]) if "schema" in data else "no field 'schema'",
            where="schema",
            fix=f"convert the file to {SCHEMA}, or use the version of Segue that wrote it",
        )
    fields = {key: value for key, value in data.items() if key != "schema"}
    _no_nulls(fields, "conversation", "the record")
    for name in ("regions", "ignore"):
        if isinstance(fields.get(name), list):
            fields[name] = [_zero_based(item, f"{name}.{k}") for k, item in enumerate(fields[name])]
    for k, region in enumerate(_mappings(fields.get("regions"))):
        _check_region(region, f"regions.{k}")
    for k, turn in enumerate(_mappings(fields.get("turns"))):
        _no_nulls(turn, "turn", f"turns.{k}")
        for j, span in enumerate(_mappings(turn.get("spans"))):
            _no_nulls(span, "span", f"turns.{k}.spans.{j}")
    return fields


def _mappings(items: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; with anything else the models deal better."""
    return items if isinstance(items, list) and all(isinstance(item, Mapping) for item in items) else []


def _zero_based(item: Any, where: str) -> Any:
    """Replace `image` (from 1) by `image_index` (from 0)."""
    if not isinstance(item, Mapping):
        return item
    if "image_index" in item:
        raise _wrong("Unknown field.", "the field 'image', counted from 1", "'image_index'", where)
    if "image" not in item:
        raise _wrong("A field is missing.", "the field 'image', counted from 1", "nothing", where)
    number = item["image"]
    # `true` is an int to Python.
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_IMAGES:
        expected = f"an integer from 1 to {MAX_IMAGES}"
        raise _wrong("A field has a wrong value.", expected, shown(number), f"{where}.image")
    return {"image_index": number - 1, **{key: value for key, value in item.items() if key != "image"}}


def _check_region(region: Mapping[str, Any], where: str) -> None:
    _no_nulls(region, "region", where)
    if ("mask" in region) == ("mask_ref" in region):
        found = "both" if "mask" in region else "neither"
        raise _wrong("A region needs one mask.", "'mask' (may be null) or 'mask_ref'", found, where)


def _no_nulls(item: Mapping[str, Any], kind: str, where: str) -> None:
    for key in _NEVER_NULL[kind]:
        if key in item and item[key] is None:
            raise _wrong(
                "A field is null.", f"a value for {key!r}, or no such field", "null", f"{where}.{key}"
            )


def _wrong(summary: str, expected: str, found: str, where: str) -> RecordError:
    return RecordError(summary, expected=expected, found=found, where=where, fix="correct this field")
