"""The page of `segue data preview` as a browser shows it: pictures, masks in place and colour, phrases alike.

What it should look like is read from the records' JSON and the image files by pycocotools and PIL alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from pycocotools import mask as coco_mask

from browser_page import NARROW, fits, has_basics, is_coloured, part_of, pixels
from m4seg_images import Thumbnails, scene_specs
from segue.cli import main
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.sampling import SamplingConfig
from segue.inference.visualize import FILL_ALPHA, PALETTE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

NEAR = 2
"""Pixels of the screen by which a border may be off: the browser scales pictures and masks by itself."""
OUTLINE = 3
"""Pixels of the image within which a mask's border is drawn, rather than its inside."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small M4SEG, from scenes."""
    out = tmp_path_factory.mktemp("built")
    specs = scene_specs(tmp_path_factory.mktemp("scenes"))
    sampling = SamplingConfig(per_class=1, max_sets=12)
    Build(out, BuildConfig(specs, Thumbnails(), sampling), progress=False).run()
    return out


def show(page: Page, file: Path, out: Path, count: int) -> list[dict[str, Any]]:
    """Write and open the preview; returns the records that are on it, in order."""
    assert main(["data", "preview", str(file), "--out", str(out), "--count", str(count)]) == 0
    page.goto((out / "preview.html").as_uri())
    lines = file.read_text(encoding="utf-8").splitlines()
    shown = [article.get_attribute("id") or "" for article in page.locator("article").all()]
    return [json.loads(lines[int(name.removeprefix("line")) - 1]) for name in shown]


def targets(record: dict[str, Any]) -> dict[tuple[tuple[str, ...], ...], int]:
    """The masks of each phrase -> the number that its colour comes from."""
    numbers: dict[tuple[tuple[str, ...], ...], int] = {}
    for turn in record["turns"]:
        for span in turn.get("spans", ()):
            if span["rids"]:
                united = span.get("merge") == "union"
                key = (tuple(span["rids"]),) if united else tuple((rid,) for rid in span["rids"])
                numbers.setdefault(key, len(numbers))
    return numbers


def covered(record: dict[str, Any], image: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number, the mask that the phrase has in an image), for the phrases that have one there."""
    regions = {region["rid"]: region for region in record["regions"]}
    for key, number in targets(record).items():
        mine = [regions[rid] for rids in key for rid in rids if regions[rid]["image"] == image + 1]
        if mine:
            yield number, np.any([coco_mask.decode(region["mask"]) for region in mine], axis=0)


def scaled(mask: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """A mask at the size that it has on the screen."""
    whole = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(whole.resize(hw[::-1], Image.Resampling.NEAREST)) > 0


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """A mask with `by` pixels more on every side, or fewer when it is negative."""
    size = 2 * abs(by) + 1
    kind = ImageFilter.MaxFilter(size) if by > 0 else ImageFilter.MinFilter(size)
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(kind)) > 0


def check_picture(
    masked: np.ndarray, bare: np.ndarray, record: dict[str, Any], image: int, file: Path
) -> int:
    """What one picture of the page must look like; returns how many masks were seen in their colour."""
    hw = masked.shape[:2]
    with Image.open(file) as opened:
        original = np.asarray(opened.convert("RGB").resize(hw[::-1], Image.Resampling.BOX), np.float64)
    assert np.abs(bare - original)[8:-8, 8:-8].mean() < 12, "another picture, or a distorted one"
    found = list(covered(record, image))
    # Enlarged by the browser, a border reaches into the next pixel of the image.
    union = scaled(grown(np.any([mask for _, mask in found], axis=0), 1), hw)
    changed = np.abs(masked.astype(int) - bare).max(axis=2) > 6
    assert not (changed & ~grown(union, NEAR)).any(), "something is drawn outside every mask"
    seen = 0
    for number, mask in found:
        alone = grown(scaled(grown(mask, -OUTLINE), hw), -NEAR)
        for other in (other for n, other in found if n != number):
            alone &= ~grown(scaled(grown(other, 1), hw), NEAR)
        # The edge of a picture is an outline too, and its corners are round.
        edge = 9 + OUTLINE * hw[0] // mask.shape[0]
        alone[:edge], alone[-edge:], alone[:, :edge], alone[:, -edge:] = False, False, False, False
        if alone.sum() < 20:
            continue
        expected = (1 - FILL_ALPHA) * bare[alone] + FILL_ALPHA * np.asarray(PALETTE[number % len(PALETTE)])
        assert np.abs(masked[alone] - expected).max() <= 4, f"mask {number} has another colour, or holes"
        seen += 1
    return seen


def check_page(page: Page, records: list[dict[str, Any]], folder: Path) -> tuple[int, int]:
    """Every card of an open page; returns how many masks it has, and how many were seen in their colour."""
    masked = pixels(page, full_page=True)
    page.locator("#bare").check()
    bare = pixels(page, full_page=True)
    page.locator("#bare").uncheck()
    layers = seen = 0
    for record, article in zip(records, page.locator("article").all(), strict=True):
        pictures = article.locator(".stack").all()
        assert len(pictures) == len(record["images"])
        for image, picture in enumerate(pictures):
            file = folder / record["images"][image]["path"]
            seen += check_picture(part_of(masked, picture), part_of(bare, picture), record, image, file)
        layers += check_layers(article, record)
        check_phrases(masked, article, record)
    return layers, seen


def check_layers(article: Locator, record: dict[str, Any]) -> int:
    """Every region that the text names is there, in the figure of its image, under its phrase's number."""
    regions = {region["rid"]: region for region in record["regions"]}
    expected = []
    for key, number in targets(record).items():
        for rids in key:
            expected += [(image, str(number)) for image in {regions[rid]["image"] for rid in rids}]
    found = []
    for image, figure in enumerate(article.locator("figure").all(), start=1):
        names = [mask.get_attribute("data-phrase") for mask in figure.locator(".mask").all()]
        found += [(image, name) for name in names]
    assert sorted(found) == sorted(expected)
    return len(found)


def check_phrases(masked: np.ndarray, article: Locator, record: dict[str, Any]) -> None:
    """Every phrase with a mask is underlined in the colour of its mask, and says the same words."""
    numbers = targets(record)
    spans = [
        (turn["text"], span) for turn in record["turns"] for span in turn.get("spans", ()) if span["rids"]
    ]
    phrases = article.locator(".phrase").all()
    for (text, span), phrase in zip(spans, phrases, strict=True):
        united = span.get("merge") == "union"
        key = (tuple(span["rids"]),) if united else tuple((rid,) for rid in span["rids"])
        tint = PALETTE[numbers[key] % len(PALETTE)]
        words = text[span["start"] : span["end"]]
        assert (phrase.text_content() or "").startswith(words)
        assert is_coloured(masked, phrase, tint), f"{words!r} has another colour than its mask"


def test_a_preview_of_m4seg(browser_page: Page, built: Path, tmp_path: Path) -> None:
    records = show(browser_page, built / "train.jsonl", tmp_path, count=3)
    assert len(records) == 3
    layers, seen = check_page(browser_page, records, built)
    assert layers >= 6
    assert seen >= 0.3 * layers
    assert has_basics(browser_page)


def test_on_a_telephone(browser_page: Page, built: Path, tmp_path: Path) -> None:
    records = show(browser_page, built / "train.jsonl", tmp_path, count=1)
    assert fits(browser_page, NARROW)
    layers, seen = check_page(browser_page, records, built)
    assert seen > 0 < layers


def test_a_phrase_under_the_pointer_is_alone(browser_page: Page, built: Path, tmp_path: Path) -> None:
    """The phrase is filled, and of the masks of its card only its own stay."""
    records = show(browser_page, built / "train.jsonl", tmp_path, count=1)
    article = browser_page.locator("article")
    phrase = article.locator(".phrase").nth(1)
    browser_page.locator("#bare").check()
    phrase.hover()
    assert phrase.get_attribute("class") == "phrase lit"
    shown = pixels(phrase)
    assert (np.abs(shown.astype(int) - np.asarray(PALETTE[1])).max(axis=2) <= 2).mean() > 0.3
    opacity = "element => getComputedStyle(element).opacity"
    browser_page.locator("#bare").uncheck()
    phrase.hover()
    # Wait for the transition; a screenshot does.
    pixels(browser_page)
    lit = {
        mask.get_attribute("data-phrase"): mask.evaluate(opacity) for mask in article.locator(".mask").all()
    }
    assert set(lit) == {str(number) for number in targets(records[0]).values()}
    assert {number for number, found in lit.items() if float(found) > 0.9} == {"1"}
    assert all(float(found) < 0.1 for number, found in lit.items() if number != "1")
    browser_page.mouse.move(0, 0)
    assert article.locator(".lit").count() == 0


def test_a_broken_line_is_said_on_the_page(browser_page: Page, built: Path, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "records.jsonl"
    file.parent.mkdir()
    line = (built / "train.jsonl").read_text(encoding="utf-8").splitlines()[0]
    file.write_text(f"{line}\n{{\n", encoding="utf-8")
    # The images are not beside the copy: paper in their place, and a remark for each.
    assert main(["data", "preview", str(file), "--out", str(tmp_path / "page")]) == 0
    browser_page.goto((tmp_path / "page" / "preview.html").as_uri())
    images = len(json.loads(line)["images"])
    assert browser_page.locator(".remarks li").count() == images
    assert "is not there" in (browser_page.locator(".remarks").text_content() or "")
    assert browser_page.locator("p.broken").is_visible()
    assert fits(browser_page, NARROW)
