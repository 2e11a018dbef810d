"""Questions that point, made of annotations: what is marked, what is answered, and how models are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.own.pointing import PointingSource, pointed
from segue.data.own.sources import AnnotationSource
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
    again = [c for c in conversations if len(c.turns) == 4]
    assert again
    for conversation in again:
        assert conversation.turns[3].spans[0].rids == conversation.turns[0].spans[0].rids


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
