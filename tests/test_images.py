"""Images: whatever a user may have comes back as upright RGB, or as one clear sentence."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue.errors import ImageError
from segue.images import MAX_PIXELS, PictureNote, content_hash, load_image


def gradient(height: int = 12, width: int = 20) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Different in every channel and corner, so that flips and swaps show."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 / (width - 1), y * 255 / (height - 1), (x + y) * 255 / (height + width - 2))
    return np.stack(channels, axis=-1).astype(np.uint8)


def written(image: Image.Image, suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=suffix, **options)
    return buffer.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A sound PNG header that claims a size, with almost no data behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


# ---- sources -----------------------------------------------------------------------------------------------


def test_path_string_bytes_pil_and_array_agree(tmp_path: Path) -> None:
    pixels = gradient()
    image = Image.fromarray(pixels)
    path = tmp_path / "ein Bild – ü.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), image, pixels):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(loaded), pixels)


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    assert load_image("~/a.png").size == (20, 12)


def test_the_given_image_stays_as_it_is() -> None:
    image = Image.new("RGBA", (4, 3), (10, 20, 30, 0))
    loaded = load_image(image)
    assert image.mode == "RGBA"
    loaded.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (10, 20, 30, 0)
    rgb = Image.new("RGB", (4, 3))
    assert load_image(rgb) is not rgb


def test_the_file_is_closed_and_may_go(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient()).save(path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    loaded = load_image(path)
    path.unlink()
    assert loaded.getpixel((19, 11)) == (255, 255, 255)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(suffix: str) -> None:
    pixels = gradient()
    np.testing.assert_array_equal(np.asarray(load_image(written(Image.fromarray(pixels), suffix))), pixels)


@pytest.mark.parametrize("suffix", ["JPEG", "WEBP"])
def test_lossy_formats_come_back_nearly(suffix: str) -> None:
    pixels = gradient(48, 64)
    loaded = np.asarray(load_image(written(Image.fromarray(pixels), suffix, quality=95))).astype(int)
    assert loaded.shape == (48, 64, 3)
    assert np.abs(loaded - pixels).mean() < 5


# ---- modes -------------------------------------------------------------------------------------------------


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = written(Image.new("RGB", (16, 16), (200, 40, 30)).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(np.asarray(load_image(data)).astype(int) - (200, 40, 30)).max() < 12


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(suffix: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    loaded = np.asarray(load_image(written(Image.fromarray(ramp), suffix)))
    np.testing.assert_array_equal(loaded[0, :, 0], np.arange(256))
    assert (loaded == loaded[..., :1]).all()


def test_big_endian_16_bit_tiff() -> None:
    big = Image.frombytes("I;16B", (3, 1), struct.pack(">3H", 0, 32896, 65535))
    assert [p[0] for p in np.asarray(load_image(written(big, "TIFF")))[0]] == [0, 128, 255]


def test_32_bit_integers_and_floats_are_scaled() -> None:
    integers = Image.fromarray(np.array([[0, 65535, 2**20]], dtype=np.int32))
    np.testing.assert_array_equal(np.asarray(load_image(integers))[0, :, 0], [0, 16, 255])
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan, -2.0]], dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(load_image(floats))[0, :, 0], [0, 128, 255, 0, 0])


def test_one_bit_and_grey() -> None:
    np.testing.assert_array_equal(
        np.asarray(load_image(Image.fromarray(np.eye(4, dtype=bool))))[..., 1], np.eye(4) * 255
    )
    grey = gradient()[..., 0]
    np.testing.assert_array_equal(np.asarray(load_image(written(Image.fromarray(grey), "PNG")))[..., 2], grey)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0, (255, 255, 255)), (255, (40, 80, 120)), (51, (212, 220, 228))]
)
def test_alpha_is_laid_on_white(alpha: int, expected: tuple[int, int, int]) -> None:
    loaded = load_image(written(Image.new("RGBA", (3, 2), (40, 80, 120, alpha)), "PNG"))
    assert np.abs(np.asarray(loaded).astype(int) - expected).max() <= 1


def test_grey_with_alpha_is_laid_on_white() -> None:
    assert load_image(written(Image.new("LA", (3, 2), (0, 0)), "PNG")).getpixel((1, 1)) == (255, 255, 255)
    assert load_image(written(Image.new("LA", (3, 2), (7, 255)), "PNG")).getpixel((1, 1)) == (7, 7, 7)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_palette_with_transparency(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 10, 0, 0, 0])
    image.putpixel((1, 0), 1)
    loaded = load_image(written(image, "PNG", transparency=transparency))
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(200, 10, 10), (255, 255, 255)]


def test_palette_without_transparency() -> None:
    image = Image.fromarray(gradient()).quantize(16)
    np.testing.assert_array_equal(
        np.asarray(load_image(written(image, "PNG"))), np.asarray(image.convert("RGB"))
    )


def test_rgb_with_a_transparent_colour() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    loaded = load_image(written(image, "PNG", transparency=(1, 2, 3)))
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (9, 9, 9)]


@pytest.mark.parametrize("suffix", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(suffix: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if suffix == "WEBP" else {}
    loaded = load_image(written(frames[0], suffix, save_all=True, append_images=frames[1:], **options))
    assert loaded.getpixel((3, 3)) == (250, 0, 0)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "CMYK", "LAB", "RGBX", "RGBa", "La", "PA"])
def test_every_mode_of_pil_becomes_rgb(mode: str) -> None:
    loaded = load_image(Image.new(mode, (2, 3)))
    assert (loaded.mode, loaded.size) == ("RGB", (2, 3))
    if mode in ("YCbCr", "HSV"):
        image = Image.new("RGB", (2, 2), (250, 10, 20)).convert(mode)
        assert np.abs(np.asarray(load_image(image)).astype(int) - (250, 10, 20)).max() < 6


# ---- orientation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = gradient(16, 24)
    # How a camera that wrote this orientation must have stored the upright picture.
    stored = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.transpose(1, 0, 2), 6: np.rot90(pixels), 7: np.rot90(pixels.transpose(1, 0, 2), 2),
        8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(written(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(loaded), pixels)
    # Once is enough: the orientation is gone from what comes back.
    np.testing.assert_array_equal(np.asarray(load_image(loaded)), pixels)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_picture(exif: bytes) -> None:
    data = written(Image.fromarray(gradient()), "JPEG", exif=exif)
    assert load_image(data).size == (20, 12)


# ---- refusals ----------------------------------------------------------------------------------------------


def refused(source: Any) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    for label in ("expected:", "found:", "where:", "do this:"):
        assert label in message
    assert "Traceback" not in message
    return message


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "There is no such image file." in refused(tmp_path / "nothing.jpg")
    assert "directory" in refused(tmp_path)
    assert "nothing.jpg" in refused(str(tmp_path / "nothing.jpg"))


@pytest.mark.parametrize(
    "source", ["", "http://example.org/a.jpg", "\0", "a" * 5000, "~nobody-of-this-name/a.png"]
)
def test_strings_that_are_no_path(source: str) -> None:
    with pytest.raises(ImageError):
        load_image(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refused(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, I am text\n" * 9, "not an image"),
        (b"\0" * 999, "not an image"),
        (b"\x89PNG", "not an"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert message in refused(path)
    assert message in refused(content)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files(suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = written(Image.fromarray(noise), suffix)
    refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_damaged_files_never_escape_as_another_error(suffix: str) -> None:
    data = written(Image.fromarray(gradient(32, 32)), suffix)
    rng = np.random.default_rng(1)
    refusals = 0
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 6):
            damaged[position] = rng.integers(0, 256)
        try:
            assert load_image(bytes(damaged)).mode == "RGB"
        except ImageError:
            refusals += 1
    assert refusals > 0


@pytest.mark.parametrize("hw", [(20_001, 10_000), (20_000, 20_000), (1, 2**31 - 1), (60_000, 60_000)])
def test_too_many_pixels_are_refused_from_the_header(hw: tuple[int, int]) -> None:
    height, width = hw
    message = refused(claiming(width, height))
    assert "too large" in message
    assert f"{height * width:,} pixels" in message
    assert "200,000,000" in message


def test_the_bound_itself_is_allowed() -> None:
    # 200 megapixels pass the bound; that the data behind this header is missing is another complaint.
    assert MAX_PIXELS == 20_000 * 10_000
    assert "damaged" in refused(claiming(20_000, 10_000))


def test_one_bound_for_pil_and_us() -> None:
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS


def test_too_large_images_and_arrays_in_memory_are_refused() -> None:
    wide = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3))
    assert "too large" in refused(wide)


def test_a_huge_png_costs_little_memory_and_time(tmp_path: Path) -> None:
    """A real 20,000 x 20,000 PNG, complete and sound; decoded it would take 1.2 GB."""
    path = tmp_path / "huge.png"
    packer = zlib.compressobj(1)
    row = b"\0" + b"\0" * (20_000 // 8)
    body = b"".join(packer.compress(row) for _ in range(20_000)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    script = (
        "import sys, time, resource\nfrom segue.images import load_image\n"
        "from segue.errors import ImageError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; begin = time.process_time()\n"
        "try: load_image(sys.argv[1])\n"
        "except ImageError as error: assert '400,000,000 pixels' in str(error)\n"
        "else: raise SystemExit('loaded')\n"
        "print(time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seconds, more = map(float, done.stdout.split())
    assert seconds < 5
    assert more < 100_000 * (1024 if sys.platform == "darwin" else 1)  # ru_maxrss is KiB on Linux


def test_pil_image_without_pixels() -> None:
    assert "no pixels" in refused(Image.new("RGB", (0, 5)))
    assert "no pixels" in refused(np.zeros((5, 0, 3), np.uint8))


def test_a_lazily_opened_damaged_pil_image() -> None:
    data = written(Image.fromarray(gradient(64, 64)), "PNG")
    assert "damaged" in refused(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize("source", [None, 3, object(), [1, 2, 3], ["a.jpg"]])
def test_other_objects(source: Any) -> None:
    assert "This is not an image." in refused(source)


def test_formats_that_run_other_programs_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.eps"
    Image.fromarray(gradient()).save(path)
    assert "not an image" in refused(path)


# ---- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint32])
def test_integer_arrays(dtype: Any) -> None:
    np.testing.assert_array_equal(np.asarray(load_image(gradient().astype(dtype))), gradient())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays(dtype: Any) -> None:
    loaded = np.asarray(load_image((gradient() / 255).astype(dtype)))
    assert np.abs(loaded.astype(int) - gradient()).max() <= 1


def test_16_bit_bool_grey_rgba_and_strided_arrays() -> None:
    np.testing.assert_array_equal(np.asarray(load_image(gradient().astype(np.uint16) * 257)), gradient())
    np.testing.assert_array_equal(np.asarray(load_image(np.eye(3, dtype=bool)))[..., 0], np.eye(3) * 255)
    np.testing.assert_array_equal(np.asarray(load_image(gradient()[..., :1]))[..., 2], gradient()[..., 0])
    np.testing.assert_array_equal(np.asarray(load_image(gradient()[::-1, ::2])), gradient()[::-1, ::2])
    clear = np.zeros((2, 3, 4), np.uint8)
    assert load_image(clear).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros(7, np.uint8),
        np.zeros((8, 8, 2), np.uint8),
        np.array(3),
        np.full((4, 4), 256),
        np.full((4, 4), -1),
        np.full((4, 4), 200.0),
        np.full((4, 4), np.nan),
        np.full((4, 4), 1j),
        np.full((4, 4), "a"),
        np.full((4, 4), None),
    ],
)
def test_arrays_that_are_no_images(array: Any) -> None:
    refused(array)


def test_channels_first_gets_its_own_advice() -> None:
    assert "moveaxis" in refused(np.zeros((3, 8, 8), np.uint8))


# ---- hash --------------------------------------------------------------------------------------------------


def test_content_hash_tells_pictures_apart() -> None:
    image = load_image(gradient())
    assert content_hash(image) == content_hash(load_image(written(image, "PNG")))
    assert len(content_hash(image)) == 64
    other = image.copy()
    other.putpixel((3, 3), (0, 0, 0))
    black = [Image.new("RGB", size) for size in ((2, 6), (6, 2), (3, 4))] + [Image.new("L", (6, 6))]
    hashes = [content_hash(picture) for picture in (image, other, *black)]
    assert len(set(hashes)) == len(hashes)


# ---- depth, formats, disguises -----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_pictures_of_few_bits_in_16_are_scaled_by_their_own_range(bits: int) -> None:
    deep = np.linspace(0, 2**bits - 1, 256).astype(np.uint16)[None].repeat(8, 0)
    for source in (written(Image.fromarray(deep), "PNG"), written(Image.fromarray(deep), "TIFF"), deep):
        with pytest.warns(PictureNote, match=f"{bits} of its 16 bits"):
            loaded = np.asarray(load_image(source))[0, :, 0]
        assert loaded[0] == 0
        assert loaded[-1] == 255
        assert 120 < loaded[128] < 136


def test_one_hot_pixel_does_not_make_a_picture_black() -> None:
    deep = np.full((40, 40), 300, np.uint16)
    deep[0, 0] = 4095
    with pytest.warns(PictureNote):
        assert np.asarray(load_image(deep)).mean() > 250


def test_colours_of_12_bits_in_16_are_not_black() -> None:
    """A PNG of 16-bit colours, written by hand: PIL writes none."""
    values = np.linspace(0, 4095, 64).astype(">u2")[None, :, None].repeat(4, 0).repeat(3, 2)
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 4, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.warns(PictureNote, match="12 of its 16 bits"):
        assert 100 < np.asarray(load_image(data)).mean() < 155


def test_heic_is_read_with_the_extra(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="an extra: segue[heic]")
    path = tmp_path / "IMG_1.heic"
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30))).save(path)
    loaded = load_image(path)
    assert loaded.size == (64, 48)
    assert np.abs(np.asarray(loaded)[20, 20].astype(int) - (200, 30, 30)).max() < 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://example.org/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 40, "ZIP"),
        (b"%PDF-1.7 ....", "PDF"),
    ],
)
def test_files_that_are_no_pictures_are_named(content: bytes, said: str) -> None:
    assert said in refused(content)


def test_what_heic_needs_is_said_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue import images

    monkeypatch.setattr(images, "_known_formats", lambda: ("JPEG", "PNG"))
    message = refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200)
    assert "HEIC" in message
    assert "segue[heic]" in message
