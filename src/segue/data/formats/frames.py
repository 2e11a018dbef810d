"""In which frame the coordinates of an image's annotations lie: the upright picture, or the stored pixels.

A phone stores a portrait lying on its side and says so in EXIF. Tools write the size of the one and the
coordinates of the other; the coordinates decide, because only one frame may hold them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.data.formats.image_header import ImageHeader

HW = tuple[int, int]
_SLACK = 2.0  # pixels; outlines are drawn on and a little beyond the edge
_FAR = 1.05  # beyond this share of a side, coordinates were not drawn on this picture


class UnusableFrame(Exception):
    """The annotations cannot be laid on the picture: `(reason, found)`."""


class UnclearFrame(UnusableFrame):
    """Both frames hold the coordinates; other images of the file may tell which one is meant."""


@dataclass(frozen=True)
class Reach:
    """How far the coordinates of one annotation reach.

    Attributes:
        height, width: Largest y and x, in pixels; the whole size where it is `exact`.
        exact: Run lengths state the size of their picture.
    """

    height: float
    width: float
    exact: bool = False

    def fits(self, hw: HW) -> bool:
        """Whether a picture of this size holds it."""
        if self.exact:
            return (self.height, self.width) == hw
        return self.height <= hw[0] + _SLACK and self.width <= hw[1] + _SLACK

    def is_far_out(self, hw: HW) -> bool:
        """Whether it reaches so far beyond that it belongs to a larger picture."""
        return not self.exact and (self.height > hw[0] * _FAR + _SLACK or self.width > hw[1] * _FAR + _SLACK)


@dataclass(frozen=True)
class Frame:
    """The picture that coordinates are read on.

    Attributes:
        hw: `(height, width)` for decoding masks.
        orientation: EXIF's number that turns decoded masks upright; 1 where they are.
        repair: What was corrected, for the report; "" where the file was right.
    """

    hw: HW
    orientation: int = 1
    repair: str = ""


@dataclass
class FrameVotes:
    """Votes of the images of a file whose coordinates tell, for the others.

    Attributes:
        counts: Images by the frame that their coordinates need.
        settle: Decide unclear images by these counts.
    """

    counts: Counter[str] = field(default_factory=Counter)
    settle: bool = False

    def verdict(self) -> str | None:
        """The frame of all images that tell; None where none does, or they differ."""
        return next(iter(self.counts)) if len(self.counts) == 1 else None


def choose_frame(
    stated: HW | None, header: ImageHeader, reaches: Sequence[Reach], votes: FrameVotes
) -> Frame:
    """Decide on which frame the annotations of an image lie.

    Args:
        stated: The size in the annotation file; None where it states none.
        header: Of the image file.
        reaches: Of its annotations.
        votes: Of the file; this image's is added where its size was swapped.

    Raises:
        UnusableFrame: Picture and annotations do not belong together; both sizes are in its text.
        UnclearFrame: See there.
    """
    upright, stored = header.hw, header.stored_hw
    sizes = f"file {_written(upright)}, record {_written(stated or upright)} (width x height)"
    if stated is not None and stated not in (upright, upright[::-1]):
        raise UnusableFrame("image size differs from its record", sizes)
    if stated == upright and stored == upright:
        frame = Frame(upright)
    else:
        frame = _turned(stated, header, reaches, votes, sizes)
    far = [reach for reach in reaches if reach.is_far_out(frame.hw)]
    # A single outline that runs out is a slip of the hand; most of them were drawn on another picture.
    if 2 * len(far) > len(reaches):
        reach = f"{max(r.width for r in far):.0f} x {max(r.height for r in far):.0f}"
        raise UnusableFrame(
            "coordinates lie beyond the image", f"they reach {reach} in a picture of {_written(frame.hw)}"
        )
    return frame


def _turned(
    stated: HW | None, header: ImageHeader, reaches: Sequence[Reach], votes: FrameVotes, sizes: str
) -> Frame:
    """Where there are two frames: the stated size is not the upright one, or EXIF turns the picture."""
    upright, stored = header.hw, header.stored_hw
    other = upright[::-1]
    has_exif = stored != upright
    why = "EXIF orientation swaps height and width" if has_exif else "height and width are swapped"
    # Upright 300 x 400 and stored 400 x 300 (width x height): a point at x = 350 fits the stored frame alone,
    # one at y = 350 the upright one alone.
    only_upright = sum(reach.fits(upright) and not reach.fits(other) for reach in reaches)
    only_other = sum(reach.fits(other) and not reach.fits(upright) for reach in reaches)
    if only_upright and only_other:
        raise UnusableFrame(f"{why}, and coordinates of both frames occur", sizes)
    said = "upright" if only_upright else "stored" if only_other else None
    if said is not None and stated != upright:
        votes.counts[said] += 1
    if said is None and stated in (None, upright):
        return Frame(upright)
    if said is None:
        said = votes.verdict() if votes.settle else None
        if said is None:
            raise UnclearFrame(f"{why}, and the coordinates fit both frames", sizes)
    if said == "upright":
        return Frame(upright, 1, "" if stated in (None, upright) else f"{why}: the upright size counts")
    # Without EXIF there is one picture only: coordinates that need the other shape are of another one.
    if not has_exif:
        raise UnusableFrame("image size differs from its record", sizes)
    return Frame(
        stored, header.orientation, "drawn before EXIF orientation was applied: masks turned upright"
    )


def _written(hw: HW) -> str:
    return f"{hw[1]} x {hw[0]}"
