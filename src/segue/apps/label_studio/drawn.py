"""What an annotator has just drawn or selected, as Label Studio's interactive context tells it: marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segue import masks
from segue.apps.label_studio.regions import UnusableRegion, region_mask
from segue.apps.server.errors import ApiError, from_exception, refusal
from segue.errors import InputError
from segue.inference.regions import Region

WHERE = "params.context"
_BOXES = ("rectanglelabels", "rectangle")
_POINTS = ("keypointlabels", "keypoint")
_MASKS = ("brushlabels", "brush", "polygonlabels", "polygon")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A result of the context that marks something.

    Attributes:
        result: As Label Studio sends it.
        label: That it was drawn with; "" without one.
    """

    result: Mapping[str, Any]
    label: str = ""

    @property
    def is_mask(self) -> bool:
        """Whether it shows a thing exactly, so that nothing better can be drawn in its place."""
        return self.result.get("type") in _MASKS

    def place(self, names: Sequence[tuple[str, int | None]]) -> int:
        """Which picture of the task it is drawn on.

        Args:
            names: Of each picture, its tag's name and its place in a list.

        Raises:
            ApiError: None of them.
        """
        to_name, item = self.result.get("to_name"), self.result.get("item_index")
        # Without its number it is the first picture of a list.
        fits = [
            number
            for number, (name, place) in enumerate(names)
            if to_name in (None, name) and place in (None, item or 0)
        ]
        if len(fits) != 1:
            found = f"to_name {to_name!r}, item_index {item!r}"[:200]
            raise _wrong("A region is drawn on no picture of the task.", "one of its pictures", found)
        return fits[0]

    def region(self, image_index: int, hw: tuple[int, int]) -> Region:
        """The region in pixels, checked; a mask as COCO RLE.

        Args:
            image_index: Of its picture among those that are asked about.
            hw: Height and width of that picture.

        Raises:
            ApiError: It is damaged, turned, or lies outside.
        """
        try:
            if self.is_mask:
                mask = masks.encode(region_mask(self.result))
                Region(image_index=0, mask=mask).checked([hw], WHERE)
                return Region(image_index=image_index, mask=mask)
            found = self._numbers(hw)
            form = "box" if len(found) == 4 else "point"
            region = Region(image_index=0, **{form: found}).checked([hw], WHERE)
            return Region(image_index=image_index, **{form: getattr(region, form)})
        except UnusableRegion as error:
            raise _wrong("A region cannot be used.", "a region of an upright picture", str(error)) from None
        except InputError as error:
            raise from_exception(error, WHERE) from None

    def _numbers(self, hw: tuple[int, int]) -> list[float]:
        """x and y of a point, or the corners of a box, in pixels: Label Studio counts in percent."""
        value = self.result["value"]
        if self.result.get("image_rotation") or value.get("rotation"):
            raise UnusableRegion("turned", f"rotation {value.get('rotation')!r}")
        names = ("x", "y", "width", "height") if self.result.get("type") in _BOXES else ("x", "y")
        given = [value.get(name) for name in names]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e6 for n in given):
            raise UnusableRegion("no numbers", repr(given)[:100])
        x, y, *size = (number * side / 100 for number, side in zip(given, (hw[1], hw[0]) * 2, strict=False))
        if not size:
            # The editor lets a click end on the edge.
            return [min(max(x, 0.0), hw[1] - 1.0), min(max(y, 0.0), hw[0] - 1.0)]
        right, bottom = min(x + size[0], float(hw[1])), min(y + size[1], float(hw[0]))
        return [max(x, 0.0), max(y, 0.0), right, bottom]


def read_drawn(context: Any, most: int) -> list[Drawn]:
    """Regions of the context, in order; texts and choices are none.

    Args:
        context: Of a request of Label Studio; anything else is empty.
        most: How many there may be.

    Raises:
        ApiError: Too many, one of a kind that marks nothing here, or a point that is to lie outside.
    """
    found = [drawn for result in results_of(context) if (drawn := _drawn(result)) is not None]
    if len(found) > most:
        raise _wrong("Too many regions are drawn.", f"at most {most}", str(len(found)))
    return found


def results_of(context: Any) -> Iterator[Mapping[str, Any]]:
    """Results of a context that have a value; none where it is no context."""
    results = context.get("result") if isinstance(context, Mapping) else None
    for result in results if isinstance(results, list) else []:
        if isinstance(result, Mapping) and isinstance(result.get("value"), Mapping):
            yield result


def _drawn(result: Mapping[str, Any]) -> Drawn | None:
    kind, value = result.get("type"), result["value"]
    if kind not in (*_BOXES, *_POINTS, *_MASKS):
        if {"x", "y"} <= set(value):
            expected = "a rectangle, a point, a brush or a polygon"
            raise _wrong("This kind of region is not read.", expected, f"a {kind}"[:200])
        return None
    if kind in _POINTS and result.get("is_positive") in (False, 0):
        raise _wrong("Points that exclude are not read.", "points on the thing", "a negative point")
    names = value.get(kind)
    named = isinstance(names, list) and len(names) > 0 and isinstance(names[0], str)
    return Drawn(result, names[0] if named else "")


def _wrong(summary: str, expected: str, found: str) -> ApiError:
    return refusal(
        summary, WHERE, code="invalid_value", expected=expected, found=found,
        fix="draw it anew; docs/label_studio.md says what is read",
    )  # fmt: skip
