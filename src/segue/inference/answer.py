"""The answer of a session: a `GroundedAnswer` with its pictures, so that it can be drawn and saved."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from segue.exports import Exported, export, masks_of
from segue.exports.coco import coco_instances
from segue.inference.mask_parts import without_specks
from segue.inference.regions import Region
from segue.inference.report import render_html, write_answer
from segue.inference.visualize import Layer, colour, colour_numbers, draw_overlay, overlay_hw
from segue.masks import Mask, resize_mask
from segue.records import GroundedAnswer

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True, slots=True, eq=False)
class SessionAnswer(GroundedAnswer):
    """Answer that `GroundingSession.ask` returns.

    Attributes:
        notes: Oddities that cost no mask, in sentences: a cut-off answer, a phrase without a mask, ...
        finished: False when the token budget ended the answer.
        prompt_tokens: Number of tokens that the model was shown, cached ones included; 0 where unknown.
        new_tokens: Number of tokens that it wrote, the end token included; 0 where unknown.
        pictures: The images as the session loaded them, RGB and upright.
        regions: What the question pointed at, in the order of its markers; masks as arrays.
    """

    notes: list[str] = field(default_factory=list)
    finished: bool = True
    prompt_tokens: int = 0
    new_tokens: int = 0
    pictures: tuple[Image.Image, ...] = field(default=(), repr=False)
    regions: tuple[Region, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `answer.json`; see docs/answer_schema.md."""
        # A class with slots is made twice, so the bare super() would look in the wrong one.
        content = GroundedAnswer.to_json(self)
        content |= {"notes": list(self.notes), "finished": self.finished}
        if self.regions:
            content["regions"] = [region.to_json() for region in self.regions]
        return content

    def coloured(self) -> Text:
        """The text for a terminal, phrases in the colours of the overlays."""
        from segue.inference.visualize import coloured_text

        return coloured_text(self.text, self.groundings)

    def layers(self, image_index: int, hw: tuple[int, int] | None = None) -> list[Layer]:
        """The masks of one image with labels and colours, in the order of the text, without specks.

        Args:
            image_index: 0-based.
            hw: Size to bring the masks to; their own by default.
        """
        # Over the whole answer, before this image's are picked: a phrase has one colour in all images.
        numbers = colour_numbers([grounding.span for grounding in self.groundings])
        return [
            Layer(without_specks(resize_mask(g.mask, hw or g.mask.shape[:2])), g.phrase, colour(number))
            for g, number in zip(self.groundings, numbers, strict=True)
            if g.image_index == image_index
        ]

    def overlay(self, image_index: int) -> Image.Image:
        """Draw one image with its masks, at the original size up to 4 megapixels, above that scaled down."""
        hw = overlay_hw(self.image_hws[image_index])
        picture = self.pictures[image_index]
        if (picture.height, picture.width) != hw:
            picture = picture.resize((hw[1], hw[0]), Image.Resampling.HAMMING)
        return draw_overlay(picture, self.layers(image_index, hw))

    @property
    def masks(self) -> list[Mask]:
        """The masks in the order of the text, bool `[height, width]` of their image."""
        return [grounding.mask for grounding in self.groundings]

    def to_coco(self) -> dict[str, Any]:
        """The content of a COCO instances file; see `segue.exports.coco`."""
        return coco_instances(masks_of(self.to_json()))

    def export(self, form: str, folder: str | Path) -> Exported:
        """Write the masks in one of `segue.exports.FORMATS`; says what the format cannot hold."""
        return export(self.to_json(), form, folder)

    def _repr_html_(self) -> str:
        """The page of the answer inside a notebook, in a frame: its style and script stay its own."""
        page = html.escape(render_html(self), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 640px; border: 0"></iframe>'

    def save(self, folder: str | Path) -> list[Path]:
        """Write `answer.json`, `answer.html` and one overlay `image_N.png` per image.

        Args:
            folder: Made when it does not exist; files of an earlier answer in it are replaced.

        Returns:
            The paths that were written, `answer.json` first.

        Raises:
            InputError: The folder cannot be written.
        """
        return write_answer(self, Path(folder))
