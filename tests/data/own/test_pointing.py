"""Questions that point, made of annotations: what is marked, what is answered, and how models are told."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.own.pointing import PointingSource, pointed
from segue.data.own.sources import AnnotationSource
from segue.data.pointing.retakes import RETAKES
from segue.protocol import parse_question
from segue.records import Conversation, question_markup


def region(rid: str, name: str, left: int, parent: str | None = None) -> AnnotatedRegion:
    mask = np.zeros((40, 40), bool)
    mask[5:25, left : left + 8] = True
    return AnnotatedRegion(rid, "part" if parent else "object", name, parent, masks.encode(mask), name)


def image(name: str, *regions: AnnotatedRegion) -> AnnotatedImage:
    return AnnotatedImage(name, Path(f"{name}.jpg"), 40, 40, regions)


@pytest.fixture
def source() -> AnnotationSource:
    return AnnotationSource(
        [
            image("a", region("1", "cat", 0), region("2", "head", 0, "1")),
            image("b", region("1", "cat", 4), region("2", "cat", 20), region("3", "head", 20, "2")),
            image("c", region("1", "car", 9)),
        ],
        Path(),
    )


def drawn(source: AnnotationSource, count: int = 60) -> list[Conversation]:
    found = [pointed(source, np.random.default_rng(k)) for k in range(count)]
    return [conversation for conversation in found if conversation is not None]


def test_each_points_at_one_thing_and_finds_its_kind_elsewhere(source: AnnotationSource) -> None:
    conversations = drawn(source)
    assert len(conversations) > 10
    for conversation in conversations:
        (mark,) = conversation.turns[0].spans
        assert conversation.turns[0].text[mark.start : mark.end].startswith("this")
        (rid,) = mark.rids
        home = conversation.region(rid)
        for span in conversation.turns[1].spans:
            for other in map(conversation.region, span.rids):
                assert other.image_index != home.image_index
                assert (other.name, other.kind) == (home.name, home.kind)


def test_parts_negatives_and_follow_ups_are_among_them(source: AnnotationSource) -> None:
    conversations = drawn(source)
    kinds = {c.region(c.turns[0].spans[0].rids[0]).kind for c in conversations}
    assert kinds == {"object", "part"}
    texts = [c.turns[1].text for c in conversations]
    assert any("nothing like it" in text for text in texts)
    assert any("shows the cats" in text for text in texts)
    asked = [(c, note["template"], turn) for c in conversations for note, turn in zip(
        c.meta["turns"], c.assistant_turns(), strict=True)]  # fmt: skip
    assert {name for _, name, _ in asked} == {"same_kind", "again", "parts", "side"}
    for conversation, name, turn in asked:
        (mark,) = conversation.turns[0].spans[0].rids
        if name == "again":
            assert turn.spans[0].rids == [mark]
        if name == "parts":
            assert conversation.region(turn.spans[0].rids[0]).name == "head"


def test_markup_says_where_the_mark_lies(source: AnnotationSource) -> None:
    for conversation in drawn(source, 20):
        markup, regions = question_markup(conversation, 0)
        found = parse_question(markup, len(conversation.images))
        assert found.text == conversation.turns[0].text
        assert [k for place in found.regions for k in place.image_indices] == [k for k, _ in regions]
        assert Conversation.from_json(conversation.to_json()) == conversation


def test_a_share_of_the_draws(source: AnnotationSource) -> None:
    def share(of: float) -> float:
        mixed = PointingSource(source, of)
        made = [mixed.draw(np.random.default_rng(k)) for k in range(80)]
        return sum("/pointing/" in c.id for c in made) / len(made)

    assert share(0.0) == 0.0
    assert 0.15 < share(0.5) < 0.6
    assert PointingSource(source, 0.5).fixed(3, 0) == source.fixed(3, 0)
    mixed = PointingSource(source, 0.5)
    assert mixed.drawn(3, 0) == mixed.drawn(5, 0)[:3] != mixed.drawn(3, 1)


def test_what_points_at_nothing_is_written_as_before(source: AnnotationSource) -> None:
    drawn = [source.draw(np.random.default_rng(k)).to_json() for k in range(30)]
    # Of the commit before questions were written together with their regions (66734c8).
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16] == "17070c186c8c9006"


def test_that_part_of_another_object() -> None:
    shown = [
        image("a", region("1", "cat", 0), region("2", "head", 0, "1")),
        image("b", region("1", "dog", 4), region("2", "head", 4, "1")),
    ]
    found = drawn(AnnotationSource(shown, Path()), 80)
    same = [c for c in found if c.meta["turns"][0]["template"] == "same_part"]
    assert same
    for conversation in same:
        (mark,), (other,) = (conversation.turns[k].spans[0].rids for k in (0, 1))
        assert conversation.region(mark).name == conversation.region(other).name == "head"
        assert conversation.turns[1].text.startswith(("Here is the cat's head", "Here is the dog's head"))


@pytest.fixture
def photographs(tmp_path: Path, source: AnnotationSource) -> AnnotationSource:
    """The same annotations with pictures: what is annotated is red."""
    shown = []
    for number, annotated in enumerate(source.images):
        pixels = np.full((40, 40, 3), 40 * number, np.uint8)
        for found in annotated.regions:
            pixels[found.mask] = (200, 0, 0)
        path = tmp_path / f"{annotated.image_id}.png"  # JPEG would smear the red
        Image.fromarray(pixels).save(path)
        shown.append(replace(annotated, path=path))
    return AnnotationSource(shown, tmp_path)


def test_the_photograph_seen_again(photographs: AnnotationSource, tmp_path: Path) -> None:
    pointing = PointingSource(photographs, 1.0, tmp_path / "pictures")
    again = [c for c in pointing.drawn(80, 0) if c.meta["turns"][0]["template"] == "same_instance"]
    assert len(again) > 8
    for conversation in again:
        (mark,) = conversation.turns[0].spans[0].rids
        (span,) = conversation.turns[1].spans
        (found,) = span.rids
        home, other = (conversation.images[conversation.region(rid).image_index] for rid in (mark, found))
        assert other.image_id.rpartition("~")[0] == home.image_id
        assert conversation.region(mark).area == conversation.region(found).area
        with Image.open(tmp_path / other.path) as opened:
            pixels = np.asarray(opened).astype(int)
        assert pixels.shape == (other.height, other.width, 3)
        mask = masks.decode(conversation.mask_of(found, "look at"))
        assert (pixels[mask][:, 0] - pixels[mask][:, 1]).min() > 60, "red under every pixel of the mask"
    assert len(list((tmp_path / "pictures").iterdir())) <= RETAKES * len(photographs)


def test_a_photograph_that_cannot_be_opened_is_not_seen_again(
    photographs: AnnotationSource, tmp_path: Path
) -> None:
    for path in tmp_path.glob("*.png"):
        path.unlink()
    templates = {
        note["template"]
        for conversation in PointingSource(photographs, 1.0, tmp_path / "pictures").drawn(40, 0)
        for note in conversation.meta["turns"]
    }
    assert "same_instance" not in templates
    assert not (tmp_path / "pictures").exists()
