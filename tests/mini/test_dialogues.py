"""Dialogues drawn for training: markup, mentions and images agree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from segue import protocol
from segue.mini.dialogues import (
    Dialogue,
    ListingFirst,
    dialogue_texts,
    draw_dialogue,
    instruction_bank,
    photo_dialogue,
    scene_dialogue,
    with_noise,
)
from segue.mini.pools import PhotoPool, ScenePool
from segue.models.processing_grounded import PrimaProcessor


def check(dialogue: Dialogue) -> int:
    """Every `[SEG]` of the markup is a mention, in order; returns how many there are."""
    assert 1 <= len(dialogue.images) <= 3
    roles = [role for role, _ in dialogue.turns]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    found = []
    for role, text in dialogue.turns:
        if role == "user":
            assert protocol.contains_tag(text) is None
            continue
        parsed = protocol.parse(text, len(dialogue.images))
        assert not parsed.unplaced
        found += [(g.phrase, g.image_index) for g in parsed.groundings]
    assert [image for _, image in found] == [m.image_index for m in dialogue.mentions]
    if dialogue.source == "scenes":
        assert [phrase for phrase, _ in found] == [m.phrase for m in dialogue.mentions]
    return len(found)


def test_scene_dialogues(scenes: ScenePool) -> None:
    rng, total = np.random.default_rng(0), 0
    for _ in range(60):
        dialogue = scene_dialogue(scenes, rng)
        total += check(dialogue)
        for mention in dialogue.mentions:
            scene = dialogue.images[mention.image_index]
            assert mention.object_index is not None
            thing = scenes.objects[scene][mention.object_index]
            words = set(mention.phrase.lower().replace("'s", "").replace("'", "").split())
            assert words & {thing.kind, thing.colour, *(mention.part or "").split()}, mention
            assert scenes.mask(scene, mention.object_index, mention.part).any()
    assert total > 60


def test_photo_dialogues(photos: PhotoPool) -> None:
    rng, total = np.random.default_rng(0), 0
    for _ in range(60):
        dialogue = photo_dialogue(photos, rng)
        total += check(dialogue)
        for mention in dialogue.mentions:
            record = photos.records[dialogue.images[mention.image_index]]
            assert record.facts.has(mention.phrase)
    assert total > 30


def test_the_share_of_photographs(scenes: ScenePool, photos: PhotoPool) -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_dialogue(scenes, photos, 0.4, rng).source for _ in range(150)]
    assert 0.25 < drawn.count("photos") / 150 < 0.55
    assert all(draw_dialogue(scenes, photos, 0.0, rng).source == "scenes" for _ in range(10))
    assert all(draw_dialogue(scenes, None, 0.9, rng).source == "scenes" for _ in range(10))


def test_a_dialogue_depends_on_its_rng_alone(scenes: ScenePool, photos: PhotoPool) -> None:
    first, second = (draw_dialogue(scenes, photos, 0.4, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != draw_dialogue(scenes, photos, 0.4, np.random.default_rng(8))


def test_texts_for_the_tokenizer_have_no_tags(scenes: ScenePool, photos: PhotoPool) -> None:
    texts = list(dialogue_texts(scenes, photos, 20))
    assert len(texts) == 20
    assert all(protocol.contains_tag(t) is None for t in texts)
    assert all(" USER: " in t and " ASSISTANT: " in t for t in texts)
    assert texts == list(dialogue_texts(scenes, photos, 20))


def test_the_instruction_bank_is_padded_questions(
    ground: SimpleNamespace, tiny_bundle: SimpleNamespace
) -> None:
    processor = PrimaProcessor(ground.tokenizer, ground.tokenizer, tiny_bundle.processor.image_streams)
    ids, mask = instruction_bank(processor, ground.scenes, ground.photos, count=12)
    assert ids.shape == mask.shape == (12, int(mask.sum(1).max()))
    for row, real in zip(ids, mask.bool(), strict=True):
        question = ground.tokenizer.decode(row[real])
        assert processor.encode_instruction(question) == row[real].tolist()
        assert len(question.split()) > 2
        assert not row[~real].any()
    assert len({tuple(row) for row in ids.tolist()}) > 6


def test_listings_name_the_things_of_one_image(scenes: ScenePool) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        dialogue = draw_dialogue(scenes, None, 0.0, rng, listing_share=1.0)
        check(dialogue)
        assert len(dialogue.turns) == 2
        assert len({m.image_index for m in dialogue.mentions}) == 1
        assert all(m.part is None for m in dialogue.mentions)


def test_the_share_of_listings_falls_in_a_line() -> None:
    plan = ListingFirst(until=100, fade=200, share=0.1)
    assert [plan.at(s) for s in (0, 99)] == [1.0, 1.0]
    assert abs(plan.at(200) - 0.55) < 1e-9
    assert abs(plan.at(300) - 0.1) < 1e-9
    assert abs(plan.at(9999) - 0.1) < 1e-9
    assert ListingFirst().at(0) == 0.0


def test_the_number_of_turns_can_be_wished_for(scenes: ScenePool) -> None:
    rng = np.random.default_rng(4)
    one = [scene_dialogue(scenes, rng, turn_shares=(1.0,)) for _ in range(10)]
    assert {len(d.turns) for d in one} == {2}
    three = [scene_dialogue(scenes, rng, turn_shares=(0.0, 0.0, 1.0)) for _ in range(10)]
    assert max(len(d.turns) for d in three) == 6
    assert sum(len(d.turns) == 6 for d in three) > 5, "fewer only where nothing more can be asked"


def test_noise_changes_questions_alone(scenes: ScenePool) -> None:
    rng = np.random.default_rng(8)
    dialogues = [scene_dialogue(scenes, rng) for _ in range(30)]
    noisy = [with_noise(d, 1.0, rng) for d in dialogues]
    assert sum(d.turns != n.turns for d, n in zip(dialogues, noisy, strict=True)) > 20
    for before, after in zip(dialogues, noisy, strict=True):
        assert [t for t in after.turns if t[0] == "assistant"] == [
            t for t in before.turns if t[0] == "assistant"
        ]
        assert (after.images, after.mentions) == (before.images, before.mentions)
        assert with_noise(before, 0.0, rng) == before
