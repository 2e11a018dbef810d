"""Load any picture a user may have as upright 8-bit RGB, or say in one sentence why not.

Everything above this module sees one kind of image: PIL, mode RGB, EXIF orientation applied. Sizes are
checked in the header, before a pixel is decoded, so that a small file that unfolds to gigabytes costs
nothing.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from segue.errors import ImageError
from segue.file_kind import HEAD_BYTES, disguised
from segue.masks import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "ImageSource",
    "PictureNote",
    "content_hash",
    "is_animated",
    "load_image",
    "register_formats",
]

ImageSource: TypeAlias = "str | Path | bytes | Image.Image | NDArray[Any]"
"""What `load_image` takes: a path, the bytes of a file, a PIL image, or an array."""

# PIL warns from its own, slightly lower bound on. One bound is enough, unless the application has chosen
# another.
if Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3:
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class PictureNote(UserWarning):
    """Something about a picture that its owner should know, though it was loaded."""


_WHITE = (255, 255, 255)
_DARK_16_BIT = 1 << 14
"""Cameras and microscopes write 10, 12 or 14 bits into 16; pictures that stay below have their own range."""
_EXPECTED = "an image file such as .jpg, .png, .webp, .gif, .tif or .bmp"

# Everything a camera, phone, browser or scanner writes. Formats that run other programs (EPS calls
# Ghostscript) or accept nearly any bytes (TGA) stay out: a picture may come from a stranger.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO",
    "QOI",
)  # fmt: skip


def load_image(source: ImageSource, *, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """Load an image as RGB, upright, 8 bits a channel.

    EXIF orientation is applied. Transparency is laid on white. 16-bit and floating-point greys are scaled
    to 8 bits (not clipped): integers by their type's range, floats from 0..1. Pictures of 16 bits that use 14
    or fewer are scaled by their own brightest value, with a `PictureNote`. CMYK, palettes, greys and the like
    are converted. Of an animation the first frame is taken.

    Args:
        source: A path, the bytes of an image file, a PIL image (left unchanged), or an array `[height,
            width]`, `[height, width, 1]`, `[height, width, 3]` or `[height, width, 4]`, of uint8, uint16,
            bool, or float in 0..1.
        most_pixels: What the bytes of a file may unfold to; known from the header, before decoding.

    Returns:
        A new image of mode RGB with its pixels in memory; no file stays open.

    Raises:
        ImageError: No such file, a directory, not an image, damaged or cut off, above `MAX_PIXELS` pixels
            (known before decoding), without pixels, or an array of another type or shape.

    Source: ours.
    """
    if isinstance(source, Image.Image):
        try:
            return _finish(source, "the given image")
        except OSError as error:  # PIL opens lazily: a damaged file may show only now
            raise _damaged(error, "the given image") from None
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (bytes, bytearray)):
        return _from_file(io.BytesIO(source), len(source), "the given bytes", most_pixels)
    if isinstance(source, (str, Path)):
        return _from_path(source)
    raise ImageError(
        "This is not an image.",
        expected="a path, bytes, a PIL image or a numpy array",
        found=type(source).__name__,
        where="segue.load_image",
        fix="for a tensor, pass tensor.cpu().numpy() with channels last",
    )


def is_animated(data: bytes) -> bool:
    """Whether the bytes of an image file hold further frames, of which `load_image` takes the first."""
    with suppress(Exception), Image.open(io.BytesIO(data), formats=_known_formats()) as image:
        # A phone's MPO holds a preview, or a depth map, of the same picture.
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return False


def content_hash(image: Image.Image) -> str:
    """Return the SHA-256 (hex) of an image's mode, size and pixels: equal exactly for equal pictures."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


# ---- files -------------------------------------------------------------------------------------------------


def _from_path(source: str | Path) -> Image.Image:
    where = str(source)
    try:
        path = Path(source).expanduser()
        with _regular_file(path, where).open("rb") as file:
            return _from_file(file, path.stat().st_size, where)
    except ImageError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        # Names that are too long or contain a NUL, no permission, an unknown ~user.
        raise ImageError(
            "The image file cannot be read.",
            expected="a file that may be opened",
            found=str(error),
            where=where,
            fix="check the path and its permissions",
        ) from None


def _regular_file(path: Path, where: str) -> Path:
    """Return the path if it is a file; an empty string would be the current directory to Path."""
    if where and path.is_file():
        return path
    summary, found, fix = "There is no such image file.", "nothing", "check the path"
    if not where:
        found = "an empty path"
    elif path.is_dir():
        summary, found = "This is a directory, not an image.", "a directory"
        fix = "name the image files in it"
    elif path.exists():
        found, fix = "a device or pipe", "save the image to a file first"
    elif where.startswith(("http:", "https:", "data:")):
        found, fix = "an address", "download the image and give the path of the file"
    raise ImageError(summary, expected=_EXPECTED, found=found, where=where, fix=fix)


def _from_file(
    file: BinaryIO | io.BytesIO, num_bytes: int, where: str, most_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an open file of `num_bytes` bytes."""
    if num_bytes == 0:
        raise ImageError(
            "The image file is empty.",
            expected=_EXPECTED,
            found="0 bytes",
            where=where,
            fix="save or download the file again",
        )
    try:
        with Image.open(file, formats=_known_formats()) as image:
            return _finish(image, where, most_pixels)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # PIL refuses from about 179 megapixels by itself, while it opens the file, and says how many there
        # are.
        counted = re.search(r"[0-9]{4,}", str(error))
        found = f"{int(counted[0]):,} pixels" if counted else str(error)
        raise _too_large(found, where, most_pixels) from None
    except UnidentifiedImageError:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        kind = disguised(head)
        raise ImageError(
            "The file is not an image." if kind is None else "The file is not an image that can be read.",
            expected=_EXPECTED,
            found=f"{num_bytes} bytes that start with {head[:16]!r}" if kind is None else kind.name,
            where=where,
            fix=kind.fix
            if kind is not None
            else "open the file to see what it is, and save it in one of these formats",
        ) from None
    except MemoryError:
        raise
    except Exception as error:
        # PIL's decoders raise nearly anything on damaged files (SyntaxError, struct.error, KeyError, ...).
        raise _damaged(error, where) from None


def _damaged(error: Exception, where: str) -> ImageError:
    return ImageError(
        "The image file is damaged.",
        expected="a complete image file",
        found=f"{type(error).__name__}: {error}",
        where=where,
        fix="save or download the file again",
    )


@cache
def register_formats() -> None:
    """Make PIL read what an installed extra reads: HEIC, with `segue[heic]`."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


@cache
def _known_formats() -> tuple[str, ...]:
    """The formats of `_FORMATS` that this installation of PIL can read."""
    Image.init()
    register_formats()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _too_large(found: str, where: str, most_pixels: int = MAX_PIXELS) -> ImageError:
    return ImageError(
        "The image is too large.",
        expected=f"at most {most_pixels:,} pixels",
        found=found,
        where=where,
        fix="make the image smaller before loading it; models look at far fewer pixels anyway",
    )


# ---- pixels ------------------------------------------------------------------------------------------------


def _finish(image: Image.Image, where: str, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """Check the size in the header, then decode, turn upright and convert to RGB."""
    width, height = image.size
    if width * height > most_pixels:
        found = f"{width} x {height} = {width * height:,} pixels (width x height)"
        raise _too_large(found, where, most_pixels)
    if width * height == 0:
        raise ImageError(
            "The image has no pixels.",
            expected="a width and height of at least 1",
            found=f"{width} x {height}",
            where=where,
            fix="check the crop or the program that made it",
        )
    # PIL keeps the upper 8 of 16 bits of colours; what they were is only known before decoding.
    is_deep = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    image.load()
    # Damaged EXIF is no reason to refuse a picture: it stays as it is.
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    converted = _to_rgb(image)
    if is_deep and image.mode in ("RGB", "RGBA", "LA"):
        converted = _brightened(converted)
    # What is left in `info` (EXIF, transparency, profiles) describes the file, no longer these pixels.
    converted.info.clear()
    return converted


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_deep_grey_to_8_bit(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # PIL has no direct way from premultiplied grey.
    layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


def _deep_grey_to_8_bit(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale greys of more than 8 bits to 0..255; PIL's own conversion clips them to white.

    Integers that fit into 16 bits are scaled by that range (65535 -> 255), floats by 0..1. Images with
    brighter values have no agreed range: they are scaled by their own maximum, and so are integers that stay
    below 14 bits, which the 16-bit range would make black. Below zero is black.
    """
    values = np.nan_to_num(grey.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if grey.dtype.kind == "f":
        white = max(1.0, float(values.max()))
    elif values.max() < _DARK_16_BIT:
        # A single hot pixel must not decide: one in a thousand may be brighter than white.
        white = max(1.0, float(np.percentile(values, 99.9, method="higher")))
        _note_range(max(1, int(values.max())).bit_length())
    else:
        white = max(65535.0, float(values.max()))
    return np.rint(np.clip(values / white, 0.0, 1.0) * 255.0).astype(np.uint8)


def _brightened(image: Image.Image) -> Image.Image:
    """A picture of 16-bit colours by its own range, where the upper 8 bits alone would be nearly black."""
    upper = np.asarray(image)
    brightest = int(upper.max())
    if brightest == 0 or brightest >= _DARK_16_BIT >> 8:
        return image
    _note_range(8 + brightest.bit_length())
    return Image.fromarray(np.rint(upper * (255.0 / brightest)).astype(np.uint8))


def _note_range(bits: int) -> None:
    warnings.warn(
        f"A picture uses {bits} of its 16 bits: it is scaled by its own brightest value.",
        PictureNote,
        stacklevel=2,
    )


def _from_array(array: NDArray[Any]) -> Image.Image:
    where = f"an array of shape {array.shape}, dtype {array.dtype}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise ImageError(
            "An array of this shape is not an image.",
            expected="[height, width], or [height, width, channels] with 1, 3 or 4 channels",
            found=f"shape {array.shape}",
            where=where,
            fix="put the channels last: np.moveaxis(array, 0, -1)" if first else "pass one image at a time",
        )
    height, width = array.shape[:2]
    if height * width > MAX_PIXELS:
        raise _too_large(f"{width} x {height} = {width * height:,} pixels (width x height)", where)
    if height * width == 0:
        return _finish(Image.new("RGB", (width, height)), where)
    return _finish(Image.fromarray(_array_to_8_bit(array, where)), where)


def _array_to_8_bit(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Convert an array of a known range to 0..255; refuse one whose range can only be guessed."""
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _deep_grey_to_8_bit(array)
    low, high = (array.min(), array.max()) if kind in "iuf" else (0, -1)
    if kind in "iu" and low >= 0 and high <= 255:
        return np.ascontiguousarray(array, dtype=np.uint8)
    # A resize may overshoot the range by a rounding error.
    if kind == "f" and low >= -1e-3 and high <= 1 + 1e-3:
        return np.rint(np.clip(array, 0.0, 1.0) * 255.0).astype(np.uint8)
    raise ImageError(
        "An array of these values is not an image.",
        expected="uint8, uint16, bool, integers in 0..255, or floats in 0..1",
        found=f"dtype {array.dtype}" + (f" with values from {low} to {high}" if kind in "iuf" else ""),
        where=where,
        fix="scale the values, for instance (array / array.max() * 255).astype('uint8')",
    )
