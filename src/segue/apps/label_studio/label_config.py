"""A project's labeling configuration, as far as masks over pictures need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from segue.errors import InputError

MASK_TAGS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
"""Tags that draw labelled masks -> the type of their results, which is also the key of their labels."""


@dataclass(frozen=True)
class ImageTag:
    """An `<Image>`.

    Attributes:
        name: That controls and results refer to.
        key: Field of the task's data with the picture's address, or a list of them.
        several: `valueList`: its results carry `item_index`.
    """

    name: str
    key: str
    several: bool


@dataclass(frozen=True)
class MaskControl:
    """A `<BrushLabels>` or `<PolygonLabels>`.

    Attributes:
        name: `from_name` of its results.
        to_name: The image that it draws on.
        kind: "brushlabels" or "polygonlabels".
        labels: Label as results write it -> its name in words.
        dynamic: Field of the task's data with further labels.
    """

    name: str
    to_name: str
    kind: str
    labels: Mapping[str, str]
    dynamic: str = ""

    def labels_of(self, data: Mapping[str, Any]) -> dict[str, str]:
        """All labels for a task, those of its data included."""
        found = dict(self.labels)
        listed = data.get(self.dynamic) if self.dynamic else None
        for entry in listed if isinstance(listed, list) else []:
            value = entry.get("value") if isinstance(entry, dict) else entry
            alias = entry.get("alias") if isinstance(entry, dict) else None
            if isinstance(value, str) and value.strip():
                found[alias if isinstance(alias, str) and alias else value] = value
        return found


@dataclass(frozen=True)
class LabelConfig:
    """What can be drawn where.

    Attributes:
        images: In the order of the configuration, which is that of a question's pictures.
        controls: Image's name -> its control; the first where there are several of the wanted kind.
    """

    images: tuple[ImageTag, ...]
    controls: Mapping[str, MaskControl]


def read_config(text: Any, shape: str | None = None) -> LabelConfig:
    """Read a labeling configuration.

    Args:
        text: XML.
        shape: "brush" or "polygon" where an image has controls of both kinds; its first control by default.

    Raises:
        InputError: It is no XML, or has no `<Image>` with a `<BrushLabels>` or `<PolygonLabels>` for it.
    """
    root = _parsed(text)
    images = [
        ImageTag(tag.get("name", ""), (tag.get("valueList") or tag.get("value") or "").lstrip("$"), several)
        for tag in root.iter("Image")
        if (several := bool(tag.get("valueList"))) or tag.get("value")
    ]
    controls: dict[str, MaskControl] = {}
    for kind in (f"{shape}labels", None) if shape else (None,):
        for tag in root.iter():
            own = MASK_TAGS.get(tag.tag)
            if own is not None and kind in (own, None):
                for to_name in tag.get("toName", "").split(","):
                    controls.setdefault(to_name.strip(), _control(tag, own, to_name.strip()))
    usable = tuple(image for image in images if image.name in controls and image.key)
    if not usable:
        tags = sorted({tag.tag for tag in root.iter()} - {"View", "Label"})
        raise InputError(
            "The labeling configuration has nothing to draw masks with.",
            expected='<Image name="img" valueList="$images"/> and <BrushLabels name="tag" toName="img"> (or '
            "PolygonLabels) with labels",
            found=", ".join(tags) or "no tags",
            where="label_config",
            fix="add a BrushLabels or PolygonLabels whose toName is the image's name",
        )
    return LabelConfig(usable, controls)


def _parsed(text: Any) -> ElementTree.Element:
    # Entities could grow without bound, and no configuration needs them.
    try:
        if not isinstance(text, str) or "<!" in text.replace("<!--", ""):
            raise ElementTree.ParseError("no text, or one with a DOCTYPE")
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(
            "The labeling configuration cannot be read.",
            expected="the XML of the project's labeling interface",
            found=str(error)[:200],
            where="label_config",
            fix="check the project's settings, Labeling Interface, Code",
        ) from None


def _control(tag: ElementTree.Element, kind: str, to_name: str) -> MaskControl:
    labels = {
        label.get("alias") or value: value for label in tag.iter("Label") if (value := label.get("value"))
    }
    return MaskControl(tag.get("name", ""), to_name, kind, labels, tag.get("value", "").lstrip("$"))
