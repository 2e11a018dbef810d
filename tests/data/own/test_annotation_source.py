"""Conversations composed from names and masks: valid, true, grammatical, and fixed by their generator."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.language import english
from segue.data.own import AnnotationSource, read_own_data
from segue.data.own.dialogue import WEIGHTS
from segue.data.own.wordings import WORDINGS
from segue.errors import InputError
from segue.records import Conversation, grounded_markup

H, W = 12, 16
NAMES = ["car", "apple", "trousers", "hair", "wine glass", "knife", "bus", "person"]
PARTS = ["wheel", "handle", "lights", "skin"]


@st.composite
def annotated(draw: Any) -> list[AnnotatedImage]:
    """One to five images of up to five objects with up to three parts, drawn as boxes."""
    images = []
    for number in range(draw(st.integers(1, 5))):
        regions: list[AnnotatedRegion] = []

        def add(kind: Any, name: str, parent: str | None, regions: list[AnnotatedRegion] = regions) -> str:
            mask = np.zeros((H, W), dtype=bool)
            top, left = draw(st.integers(0, H - 1)), draw(st.integers(0, W - 1))
            mask[top : top + draw(st.integers(1, H)), left : left + draw(st.integers(1, W))] = True
            rid = str(len(regions))
            regions.append(AnnotatedRegion(rid, kind, name, parent, masks.encode(mask), name))
            return rid

        for _ in range(draw(st.integers(1, 5))):
            own = add("object", draw(st.sampled_from(NAMES)), None)
            for _ in range(draw(st.integers(0, 3))):
                add("part", draw(st.sampled_from(PARTS)), own)
        path = Path("pictures") / f"{number}.jpg"
        absent = draw(st.sampled_from([None, frozenset({"bus"}), frozenset()]))
        images.append(AnnotatedImage(str(number), path, H, W, tuple(regions), absent=absent))
    return images


def check(conversation: Conversation) -> None:
    """What must hold of every drawn conversation."""
    assert Conversation.from_json(conversation.to_json()) == conversation
    used = {rid for turn in conversation.turns for span in turn.spans for rid in span.rids}
    parents = {region.parent for region in conversation.regions if region.rid in used}
    assert {region.rid for region in conversation.regions} == used | (parents - {None})
    for number, turn in enumerate(conversation.turns):
        assert turn.role == ("user" if number % 2 == 0 else "assistant")
        assert "{" not in turn.text
        assert "  " not in turn.text
        assert turn.text.strip() == turn.text
        grounded_markup(conversation, number)
        for span in turn.spans:
            phrase = turn.text[span.start : span.end]
            for region in map(conversation.region, span.rids):
                assert region.name in phrase or english.plural(region.name) in phrase
                assert region.mask is not None
                if turn.text[span.end :].startswith(" in image "):
                    assert turn.text[span.end :].startswith(f" in image {region.image_index + 1}")


def check_grammar(text: str) -> None:
    assert not re.search(r"\ban? (trousers|hair|lights|skin)\b|\ba apple\b|\ban (?!apple)\w+", text), text
    assert not re.search(
        r"\bis (two|three|four|five|no trousers)\b|\bare (an?|one|no (?!trousers)) ", text
    ), text
    assert not re.search(r"\b(hairs|skins|trouserses|knifes|persons|buss)\b", text), text


@settings(max_examples=40)
@given(images=annotated(), seed=st.integers(0, 10_000))
def test_every_conversation_is_valid_and_its_phrases_name_their_regions(
    images: list[AnnotatedImage], seed: int
) -> None:
    source = AnnotationSource(images, Path("pictures"))
    conversation = source.draw(np.random.default_rng(seed))
    check(conversation)
    assert 1 <= len(conversation.images) <= min(3, len(images))
    assert 2 <= len(conversation.turns) <= 6
    assert all(image.path in {f"{n}.jpg" for n in range(5)} for image in conversation.images)
    for turn in conversation.assistant_turns():
        check_grammar(turn.text)
    assert conversation == source.draw(np.random.default_rng(seed))


def test_every_template_is_drawn_and_the_answers_are_true(coco_file: Path) -> None:
    data = read_own_data(coco_file, coco_file.parent / "images")
    shown = {
        f"own:{image.image_id}": Counter(region.name for region in image.regions if region.kind == "object")
        for image in data.source.images  # type: ignore[attr-defined]
    }
    seen: Counter[str] = Counter()
    for seed in range(250):
        conversation = data.source.draw(np.random.default_rng(seed))
        check(conversation)
        seen.update(turn["template"] for turn in conversation.meta["turns"])
        for turn in conversation.turns:
            check_grammar(turn.text)
        for turn in conversation.assistant_turns():
            for name, number in re.findall(r"[Tt]here (?:is|are) no ([\w ]+?) in image (\d)", turn.text):
                assert not shown[conversation.images[int(number) - 1].image_id][name]
            for count, name, number in re.findall(r"(two|six) (cups|cars) in image (\d)", turn.text):
                own = shown[conversation.images[int(number) - 1].image_id]
                assert own[name.rstrip("s")] == {"two": 2, "six": 6}[count]
    assert set(seen) == set(WORDINGS)
    assert set(WEIGHTS) <= set(seen)


def test_nothing_is_said_about_a_name_whose_crowd_was_dropped(coco_file: Path) -> None:
    data = read_own_data(coco_file, coco_file.parent / "images")
    for seed in range(120):
        conversation = data.source.draw(np.random.default_rng(seed))
        numbers = [k + 1 for k, image in enumerate(conversation.images) if image.image_id == "own:5"]
        for turn in conversation.assistant_turns():
            for number in numbers:
                assert not re.search(rf"no person[^.]*image[^.]*\b{number}\b", turn.text), turn.text
                assert not re.search(rf"person's hair is not visible[^.]*\b{number}\b", turn.text), turn.text


def test_many_regions_share_one_mask(coco_file: Path) -> None:
    source = read_own_data(coco_file, coco_file.parent / "images").source
    merged = {
        len(span.rids): span.merge
        for seed in range(60)
        for turn in source.draw(np.random.default_rng(seed)).turns
        for span in turn.spans
    }
    assert merged[6] == "union"
    assert merged[2] == merged[1] == "each"


def test_shares_of_set_sizes_and_fixed_conversations(coco_file: Path) -> None:
    source = read_own_data(coco_file, coco_file.parent / "images").source
    sizes = Counter(len(source.draw(np.random.default_rng(seed)).images) for seed in range(300))
    # 300 draws: the standard deviation of a share of .4 is .03.
    assert [sizes[n] / 300 for n in (1, 2, 3)] == pytest.approx([0.3, 0.4, 0.3], abs=0.09)
    assert source.fixed(4, seed=3) == source.fixed(6, seed=3)[:4]
    assert source.fixed(2, seed=3) != source.fixed(2, seed=4)
    assert len(source) == 5


def test_number_is_not_asked_where_instances_may_have_been_merged(tmp_path: Path) -> None:
    mask = masks.encode(np.ones((H, W), dtype=bool))
    images = [
        AnnotatedImage(
            str(n), Path(f"{n}.jpg"), H, W, (AnnotatedRegion("1", "object", "car", None, mask, "car"),)
        )
        for n in range(3)
    ]
    source = AnnotationSource(images, tmp_path)
    texts = [turn.text for seed in range(50) for turn in source.draw(np.random.default_rng(seed)).turns]
    assert not any(re.search("[Hh]ow many|[Cc]ount|number", text) for text in texts)


def test_a_source_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image to ask about"):
        AnnotationSource([], tmp_path)
