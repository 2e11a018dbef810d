"""Conversations of a build that point: judged, counted, written, and read back for training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m4seg_images import (
    VOCABULARY,
    Thumbnails,
    dining_room,
    kitchen,
    lexicon,
    living_room,
    scene_specs,
    stored,
    two_rooms,
)
from segue.data.own import read_own_data
from segue.data.pointing.retakes import retakes_of
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.filters import MAX_MASKS, QAPair, judge
from segue.datasets.m4seg.images import ImageStore, StoredImage
from segue.datasets.m4seg.listing import list_images
from segue.datasets.m4seg.mentions import GroundedPhrase
from segue.datasets.m4seg.pointing import judge_all, listing_of, mix_in, pointing_pairs
from segue.datasets.m4seg.region_store import RegionStore
from segue.datasets.m4seg.sampling import SamplingConfig
from segue.datasets.preview import write_preview
from segue.datasets.stages.stages import read_stage
from segue.datasets.statistics import collect
from segue.protocol import parse_question
from segue.records import Conversation, question_markup, read_jsonl

FILES = ("train.jsonl", "test.jsonl", "rejected.jsonl", "report.json")
SHARE = 0.4


# ---- one set -----------------------------------------------------------------------------------------------


@st.composite
def rooms(draw: st.DrawFn) -> StoredImage:
    """An image of up to five things with parts, some of which may be there unseen."""
    box = st.tuples(st.integers(0, 90), st.integers(0, 60), st.integers(9, 60), st.integers(9, 50))
    names = draw(st.lists(st.sampled_from(sorted(VOCABULARY)), min_size=1, max_size=5))
    things = [(name, draw(box), {part: draw(box) for part in sorted(VOCABULARY[name])[:2]}) for name in names]
    unsure = draw(st.lists(st.sampled_from(sorted(VOCABULARY)), max_size=2))
    absent = draw(st.none() | st.lists(st.sampled_from(sorted(VOCABULARY)), max_size=3))
    return stored(draw(st.integers(1, 10**6)), things, unsure=unsure, absent=absent)


@settings(max_examples=30)
@given(st.lists(rooms(), min_size=2, max_size=3), st.integers(0, 100))
def test_no_filter_objects_to_what_is_made(shown: list[StoredImage], seed: int) -> None:
    for pair in pointing_pairs(shown, 4, np.random.default_rng(seed)):
        verdicts = judge_all(pair, listing_of(pair, shown, Path("pictures")), lexicon())
        assert verdicts[-1].kept, (verdicts[-1].letter, verdicts[-1].detail, pair)
        assert len(verdicts) == 1 + len(pair["then"]) == len(pair["turns"])


def test_every_kind_of_question_is_made() -> None:
    found = set()
    for seed in range(30):
        for pair in pointing_pairs([living_room(), dining_room(), kitchen()], 3, np.random.default_rng(seed)):
            found |= {turn["template"] for turn in pair["turns"]}
    assert found >= {"same_kind", "same_part", "same_instance", "again", "parts", "larger"}


def test_one_by_hand() -> None:
    pairs = [
        pair
        for seed in range(20)
        for pair in pointing_pairs([living_room(), dining_room(), kitchen()], 3, np.random.default_rng(seed))
        if pair["marks"][0]["codes"] == ["203"] and pair["turns"][0]["template"] == "same_kind"
    ]
    assert pairs
    for pair in pairs:
        assert pair["answer"] == "Image 1 shows the cat 103. There is nothing like it in image 3."
        assert pair["images"] == [{"place": 0}, {"place": 1}, {"place": 2}]
        (mark,) = pair["marks"]
        assert pair["question"][mark["start"] : mark["end"]].startswith("this")


def test_a_share_of_the_pairs_gives_way() -> None:
    pairs = [{"question": str(n), "answer": "", "kind": "spatial"} for n in range(4)]
    shown = [living_room(), dining_room()]
    counts = []
    for seed in range(60):
        mixed, missed = mix_in(pairs, shown, SHARE, np.random.default_rng(seed))
        assert len(mixed) == 4
        assert missed == 0
        counts.append(sum("marks" in pair for pair in mixed))
        assert all("marks" in pair or pair == pairs[n] for n, pair in enumerate(mixed))
    assert np.mean(counts) / 4 == pytest.approx(SHARE, abs=0.1)
    tiny = stored(9, [("cat", (0, 0, 5, 5), {})])
    mixed, missed = mix_in(pairs, [tiny, tiny], 1.0, np.random.default_rng(0))
    assert (mixed, missed) == (pairs, 4)


# Answer about two_rooms() to a question that marks the cat's tail 10302 (the cat of image 2 has none that is
# outlined), or the cat 103, and the filter that rejects it.
@pytest.mark.parametrize(
    ("mark", "answer", "letter"),
    [
        ("103", "Image 2 shows the cat 203.", ""),
        ("103", "Here is the marked cat 103 in image 1.", "d"),  # image 2 shows one
        ("10302", "Here is the cat 103. There is nothing like it in image 2.", ""),
        ("10302", "There is nothing like it in image 2.", "a"),
        ("10302", "Here is the cat 103.", "c"),  # nothing is said of image 2
        ("103", "Image 2 shows the cat 203 and the bus.", "e"),
        ("103", "Image 3 shows the cat 203.", "c"),
    ],
)
def test_filters_know_what_is_marked(mark: str, answer: str, letter: str) -> None:
    marks = (GroundedPhrase(5, 9, (mark,)),)
    verdict = judge(QAPair("Find this in the other images.", answer, marks), two_rooms(), lexicon())
    assert verdict.letter == letter, verdict.detail


def test_where_it_may_be_a_mask_is_wanted() -> None:
    listing = list_images([living_room(), stored(2, [("dog", (0, 0, 40, 40), {})], unsure=["cat"])])
    asked = QAPair(
        "Find this in image 2.",
        "There is nothing like it in image 2, but the cat 103.",
        (GroundedPhrase(5, 9, ("103",)),),
    )
    assert judge(asked, listing, lexicon()).detail == "no mask in image 2"


def test_follow_ups_need_not_speak_of_every_image() -> None:
    asked = QAPair("And in image 1?", "Here is the marked cat 103 in image 1.")
    assert judge(asked, two_rooms(), lexicon()).letter == "d"
    assert judge(replace(asked, follows=True), two_rooms(), lexicon()).kept
    wrong = replace(asked, follows=True, answer="Image 1 shows the marked cat 203.")
    assert judge(wrong, two_rooms(), lexicon()).detail == "203 in a clause about image 1"


# ---- a build -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pointing_build(built: Path, config: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small build once more, of which a share points; stages that do not differ are taken over."""
    out = tmp_path_factory.mktemp("pointing")
    take_over(built, out)
    Build(out, replace(config, regions=SHARE), progress=False).run()
    return out


def take_over(built: Path, out: Path) -> None:
    import shutil

    for stage in ("images", "features", "sets"):
        shutil.copytree(built / "stages" / stage, out / "stages" / stage)


def pointing_records(out: Path) -> list[Conversation]:
    records = [r for name in FILES[:2] for r in read_jsonl(out / name)]
    return [record for record in records if record.meta["kind"] == "pointing"]


def test_a_share_of_the_records_points(pointing_build: Path) -> None:
    every = [r for name in FILES[:2] for r in read_jsonl(pointing_build / name)]
    found = pointing_records(pointing_build)
    assert len(found) / len(every) == pytest.approx(SHARE, abs=0.08)
    report = json.loads((pointing_build / "report.json").read_text())
    assert report["regions"] == SHARE
    assert report["pairs"]["dropped"] == 0
    counts = report["stages"]["records"]
    assert counts["kept, pointing"] == len(found)
    templates = [note["template"] for record in found for note in record.meta["turns"]]
    for name in ("same_kind", "same_instance", "again"):
        assert counts[f"kept, pointing, {name}"] == templates.count(name) > 0


def test_the_other_pairs_are_those_of_a_build_without(built: Path, pointing_build: Path) -> None:
    def lines(out: Path) -> dict[str, str]:
        written = [line for name in FILES[:2] for line in (out / name).read_text().splitlines()]
        return {json.loads(line)["id"]: line for line in written}

    before, after = lines(built), lines(pointing_build)
    pointing = {record.id for record in pointing_records(pointing_build)}
    assert set(before) == set(after)
    for id in set(before) - pointing:
        here, there = (json.loads(found[id]) for found in (before, after))
        for image in (*here["images"], *there["images"]):
            del image["path"]  # relative to the folder of the build
        assert here == there


def test_marks_masks_and_pictures_fit(pointing_build: Path) -> None:
    again = 0
    output = read_stage(pointing_build / "stages" / "images")
    assert output is not None
    store = ImageStore(output)
    photographs = {store[row].image_id: store[row].annotated() for row in range(len(store))}
    for record in pointing_records(pointing_build):
        (mark,) = record.turns[0].spans[0].rids
        markup, regions = question_markup(record, 0)
        assert regions == [(record.region(mark).image_index, [mark])]
        assert parse_question(markup, len(record.images)).text == record.turns[0].text
        for number, image in enumerate(record.images):
            with Image.open(pointing_build / image.path) as opened:
                assert (opened.height, opened.width) == (image.height, image.width)
                pixels = np.asarray(opened.convert("RGB"))
            if "~" not in image.image_id:
                continue
            again += 1
            assert (pointing_build / image.path).resolve().parent == (pointing_build / "pictures").resolve()
            (found,) = record.turns[1].spans[0].rids
            assert record.region(found).image_index == number
            assert record.region(found).area == record.region(mark).area
            photograph = photographs[image.image_id.partition("~")[0]]
            retake = retakes_of(photograph)[int(image.image_id.partition("~")[2])]
            assert record.mask_of(found, "look at") == retake.mask(record.mask_of(mark, "look at"))
            with Image.open(photograph.path) as opened:
                expected = retake.picture(np.asarray(opened.convert("RGB")))
            # As far as JPEG keeps it.
            assert np.abs(pixels.astype(int) - expected).mean() < 4
        for turn in record.assistant_turns():
            assert len({rid for span in turn.spans for rid in span.rids}) <= MAX_MASKS
    assert again > 5


def test_pictures_that_are_lost_are_drawn_again(pointing_build: Path, config: BuildConfig) -> None:
    pictures = pointing_build / "pictures"
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    lost = sorted(before)[0]
    (pictures / lost).unlink()
    (pictures / f"{0:020x}.jpg").write_bytes(b"of an earlier build")
    (pictures / "mine.jpg").write_bytes(b"somebody's")
    Build(pointing_build, replace(config, regions=SHARE), progress=False).run()
    after = {path.name: path.read_bytes() for path in pictures.iterdir()}
    assert after == before | {"mine.jpg": b"somebody's"}
    (pictures / "mine.jpg").unlink()


def test_masks_by_reference_leave_those_of_pictures_inline(
    pointing_build: Path, config: BuildConfig, tmp_path: Path
) -> None:
    take_over(pointing_build, tmp_path)
    Build(tmp_path, replace(config, regions=SHARE, masks="store"), progress=False).run()
    by_reference = list(read_jsonl(tmp_path / "train.jsonl"))
    for record in by_reference:
        for region in record.regions:
            is_seen_again = "~" in record.images[region.image_index].image_id
            assert (region.mask is not None) == is_seen_again
    filled = RegionStore(tmp_path).inline(by_reference)
    assert [r.regions for r in filled] == [r.regions for r in read_jsonl(pointing_build / "train.jsonl")]


def test_a_build_is_read_back_for_training(pointing_build: Path) -> None:
    own = read_own_data(pointing_build)
    assert own.format == "gconv"
    assert not own.report.dropped
    assert any("conversations point at regions" in note for note in own.report.notes)
    drawn = [own.source.draw(np.random.default_rng(k)) for k in range(60)]
    assert any(turn.spans for record in drawn for turn in record.turns if turn.role == "user")


def test_statistics_and_preview_know_them(pointing_build: Path, built: Path, tmp_path: Path) -> None:
    records = list(read_jsonl(pointing_build / "train.jsonl"))
    counts = collect(records).to_json()["splits"]["train"]
    pointing = [record for record in records if record.meta["kind"] == "pointing"]
    assert counts["pointing_questions"] == len(pointing)
    again = sum(record.meta["turns"][0]["template"] == "same_instance" for record in pointing)
    assert 0 < counts["pointing_seen_again"] == again
    assert 0 < counts["pointing_at_parts"] < len(pointing)
    without = collect(read_jsonl(built / "train.jsonl")).to_json()["splits"]["train"]
    assert not [name for name in without if "pointing" in name]
    summary = write_preview(pointing_build / "train.jsonl", tmp_path / "preview.html", count=12)
    page = (tmp_path / "preview.html").read_text()
    assert not summary.problems
    assert page.count('class="phrase pointing"') == page.count("hatched: what is pointed at") > 0


def test_without_regions_every_byte_is_what_it_was(tmp_path: Path) -> None:
    specs = scene_specs(tmp_path / "scenes")
    sampling = SamplingConfig(test_share=0.0, per_class=2)
    Build(tmp_path / "out", BuildConfig(specs, Thumbnails(), sampling), progress=False).run()
    found = {name: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()[:16] for name in FILES}
    # Of the commit before builds knew regions (66734c8).
    nothing = hashlib.sha256(b"").hexdigest()[:16]
    assert found == {
        "train.jsonl": "4e2557de69fa6a01",
        "test.jsonl": nothing,
        "rejected.jsonl": nothing,
        "report.json": "ab0a35e96026aa49",
    }
    assert not (tmp_path / "out" / "pictures").exists()
    manifest = json.loads((tmp_path / "out" / "stages" / "pairs" / "manifest.json").read_text())
    assert manifest["config"] == {"version": 1, "generator": "template", "seed": 0}
