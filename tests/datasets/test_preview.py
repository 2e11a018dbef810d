"""The page for people to check: what it shows, and what it says when it cannot."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.datasets.preview import write_preview
from segue.errors import InputError
from segue.inference.visualize import PALETTE
from segue.records import Conversation, ImageRef, Region, Span, Turn, write_jsonl

H, W = 40, 60
BOX = np.zeros((H, W), bool)
BOX[10:30, 10:30] = True


def conversation(number: int = 0, **more: Any) -> Conversation:
    text = 'The <b>mug & lid</b> and the "lamp" are not there, nor is a cat.'
    fields = {
        "id": f"set/{number}",
        "task": "m4seg",
        "split": "test",
        "images": [
            ImageRef(image_id=f"own:{k}", path=f"{k}.png", height=H, width=W) for k in (1, 2)
        ],
        "regions": [
            Region(rid="a", image_index=0, kind="object", name="mug <1>", code="101", mask=masks.encode(BOX)),
            Region(rid="b", image_index=1, kind="object", name="lamp", mask=masks.encode(~BOX)),
        ],
        "turns": [
            Turn(role="user", text="Where is <it>?"),
            Turn(role="assistant", text=text, spans=[
                Span(start=4, end=20, rids=["a"]),
                Span(start=29, end=35, rids=["a", "b"], merge="each"),
                Span(start=59, end=62, rids=[]),
            ]),
            Turn(role="user", text="Again?"),
            Turn(role="assistant", text="It is .", spans=[Span(start=6, end=6, rids=["a"])]),
        ],
        "meta": {"raw": "<script>alert(1)</script>"},
        **more,
    }  # fmt: skip
    return Conversation(**fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png"):
        Image.new("RGB", (W, H), (90, 90, 90)).save(tmp_path / name)
    return tmp_path


def page_of(folder: Path, records: list[Conversation], **options: Any) -> tuple[str, Any]:
    write_jsonl(folder / "c.jsonl", records)
    summary = write_preview(folder / "c.jsonl", folder / "preview.html", **options)
    return (folder / "preview.html").read_text(encoding="utf-8"), summary


def test_the_page_is_self_contained_and_escaped(folder: Path) -> None:
    page, summary = page_of(folder, [conversation()])
    assert (summary.shown, summary.total, summary.problems) == (1, 1, [])
    for text in ("<script>alert", "<b>mug", "mug <1>", "<it>"):
        assert text not in page
    assert "&lt;b&gt;mug &amp; lid&lt;/b&gt;" in page
    assert "default-src 'none'" in page
    assert "$" not in re.sub(r'"data:[^"]*"', "", page)
    for attribute in ('src="http', 'href="', "url(", "@import", "fetch("):
        assert attribute not in page


def test_phrases_and_masks_share_numbers_and_repeats_their_colour(folder: Path) -> None:
    page, _ = page_of(folder, [conversation()])
    phrases = re.findall(r'class="phrase" tabindex="0" data-phrase="(\d)" style="--tint: ([\d ]+);', page)
    assert phrases == [(str(n), " ".join(map(str, PALETTE[n]))) for n in (0, 1, 0)]
    layers = re.findall(r'class="mask" data-phrase="(\d)" src="([^"]+)"', page)
    # Image 1: its mask as phrase 0 and as one of phrase 1; image 2: the other of phrase 1.
    assert [number for number, _ in layers] == ["0", "1", "1"]
    for (number, url), mask in zip(layers, (BOX, BOX, ~BOX), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as layer:
            pixels = np.asarray(layer.convert("RGBA"))
        np.testing.assert_array_equal(pixels[..., 3] > 0, mask)
        assert {tuple(rgb) for rgb in pixels[mask][:, :3].tolist()} == {PALETTE[int(number)]}
    assert 'class="ungrounded"' in page
    assert "\u25a0" in page  # the mask without a phrase
    assert 'title="mug &lt;1&gt; 101"' in page


def test_the_same_seed_draws_the_same_conversations(folder: Path) -> None:
    records = [conversation(k) for k in range(30)]

    def drawn(seed: int) -> list[str]:
        page, summary = page_of(folder, records, count=5, seed=seed)
        assert (summary.shown, summary.total) == (5, 30)
        assert f"5 of 30 conversations, drawn with seed {seed}" in page
        return re.findall(r"<b>set/(\d+)</b>", page)

    assert drawn(1) == drawn(1) == sorted(drawn(1), key=int) != drawn(2)
    page, _ = page_of(folder, records[:3], count=5)
    assert re.findall(r"<b>set/(\d+)</b>", page) == ["0", "1", "2"]


def test_what_cannot_be_shown_is_said(folder: Path) -> None:
    (folder / "2.png").unlink()
    Image.new("RGB", (W + 1, H)).save(folder / "1.png")
    regions = [
        Region(rid="a", image_index=0, kind="object", name="mug", mask_ref="own:masks#7"),
        Region(rid="b", image_index=1, kind="object", name="lamp", mask=None),
    ]
    page, summary = page_of(folder, [conversation(regions=regions)])
    assert summary.problems == [
        "line 1: image 1 has another size than its record: 61 x 40, the record says 60 x 40",
        "line 1: mug (a) has no mask to show: it is kept as own:masks#7",
        "line 1: image 2 is not there: 2.png",
        "line 1: lamp (b) has no mask to show: the file has none",
    ]
    assert page.count("<li>") == 4
    assert page.count('alt="image 2"') == 1


def test_broken_lines_are_left_out_and_named(folder: Path) -> None:
    write_jsonl(folder / "c.jsonl", [conversation()])
    with (folder / "c.jsonl").open("a") as file:
        file.write('\n{"schema": "gconv/1", "id"\n')
    summary = write_preview(folder / "c.jsonl", folder / "preview.html")
    assert (summary.shown, summary.total) == (1, 2)
    assert summary.problems == ["c.jsonl:3 is not shown: A line is not JSON."]
    assert 'class="broken"' in (folder / "preview.html").read_text()


def test_large_pictures_are_shrunk_with_their_masks(tmp_path: Path) -> None:
    Image.new("RGB", (1280, 800)).save(tmp_path / "big.png")
    mask = np.zeros((800, 1280), bool)
    mask[200:400, 200:400] = True
    spans = [Span(start=0, end=3, rids=["a"])]
    record = conversation(
        images=[ImageRef(image_id="own:big", path="big.png", height=0, width=0)],
        regions=[Region(rid="a", image_index=0, kind="object", name="mug", mask=masks.encode(mask))],
        turns=[Turn(role="user", text="?"), Turn(role="assistant", text="Mug", spans=spans)],
    )
    page, summary = page_of(tmp_path, [record])
    assert 'width="640" height="400"' in page
    assert summary.problems == []


def test_missing_files_are_errors(folder: Path) -> None:
    with pytest.raises(InputError, match="nothing to show") as caught:
        write_preview(folder / "absent.jsonl", folder / "p.html")
    assert "absent.jsonl" in caught.value.where
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="nothing to show"):
        write_preview(folder / "empty.jsonl", folder / "p.html")
    with pytest.raises(InputError, match="nothing to show"):
        page_of(folder, [conversation()], images=folder / "nowhere")
    with pytest.raises(InputError, match="nothing to show") as caught:
        write_preview(folder, folder / "p.html")
    assert "the other" in caught.value.found
    (folder / "prose.jsonl").write_text("once upon a time\n")
    with pytest.raises(InputError, match="nothing to show") as caught:
        write_preview(folder / "prose.jsonl", folder / "p.html")
    assert "prose.jsonl:1" in caught.value.found
    assert not (folder / "p.html").exists()


def test_masks_by_reference_come_from_the_build_beside_the_file(tmp_path: Path) -> None:
    from segue.datasets.m4seg.images import SourceSpec, read_images
    from segue.datasets.m4seg.region_store import IMAGES, RegionStore
    from segue.records import read_jsonl
    from segue.scenes.build import build

    scenes = build(tmp_path / "scenes", seed=2, count=1, split="test", size=96, progress=False)
    (record,) = read_jsonl(scenes)
    out = tmp_path / "build"
    spec = SourceSpec("scenes", str(scenes.parent), "test")
    read_images(out / IMAGES, [spec], progress=False)
    referring = [
        Region(**{**r.__dict__, "mask": None, "mask_ref": f"{record.images[r.image_index].image_id}#{r.rid}"})
        for r in record.regions
    ]
    named = next(span.rids[0] for turn in record.turns for span in turn.spans)
    by_reference = record.model_copy(update={"regions": referring})
    page, summary = page_of(out, [by_reference], images=scenes.parent)
    assert summary.problems == []
    assert 'class="mask"' in page
    assert RegionStore(out).mask(by_reference.region(named).mask_ref or "") == record.region(named).mask
    # Elsewhere, without the store: the same page says what it lacks, and --store names it.
    write_jsonl(tmp_path / "moved.jsonl", [by_reference])
    moved = write_preview(tmp_path / "moved.jsonl", tmp_path / "p.html", images=scenes.parent)
    assert "has no mask to show: it is kept as scenes:" in moved.problems[0]
    found = write_preview(tmp_path / "moved.jsonl", tmp_path / "q.html", images=scenes.parent, store=out)
    assert found.problems == []
