"""Both halves as one: what is found is what is read, phrases lead to heat, and files bring it all back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import segue
from segue.inference import Region
from segue.mini.assemble import assemble
from segue.mini.talk.build import build_talking, talking_tokenizer
from segue.mini.talk.evaluate import Talker
from segue.mini.talk.kinds import known_kinds
from segue.models.mini.embedded import EmbeddedModel
from segue.models.mini.findings import MOST_FINDINGS, Finding
from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.seeing import SeeingConfig, SeeingModel
from segue.models.mini.spelled_findings import embed_findings

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def halves() -> Any:
    torch.manual_seed(0)
    talking = build_talking(talking_tokenizer(known_kinds(), conversations=40), **SMALL)
    return (*talking, SeeingModel(SeeingConfig()))


@pytest.fixture(scope="module")
def whole(halves: Any) -> Any:
    return assemble(*halves)


@pytest.fixture(scope="module")
def seen(whole: Any) -> Any:
    model, processor = whole
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    pixels = processor.encode_pixels([Image.fromarray(p) for p in pictures])
    with torch.no_grad():
        return (pixels, *model.encode(pixels))


def phrase(processor: Any, words: str) -> list[int]:
    return list(processor.tokenizer(f"<p> {words} </p>", add_special_tokens=False)["input_ids"])


def test_what_is_found_is_what_is_read(halves: Any, whole: Any, seen: Any) -> None:
    model, processor = whole
    _, streams, features = seen
    assert streams["finding_ids"].shape[:2] == (2, MOST_FINDINGS)
    found = model.segmenter.find(features)
    turns = [("user", "Which image shows a dog?")]
    ids = torch.tensor([processor.encode_turns(turns, 2, True)["input_ids"]])
    said = model.generate_grounded(ids, [2], max_new_tokens=12, **streams).token_ids
    assert processor.decode_markup(said)[:12] == Talker(*halves[:2])(found, turns)[0][:12]


def test_masks_are_drawn_for_phrases(whole: Any, seen: Any) -> None:
    model, processor = whole
    features = seen[2]
    phrases = [torch.tensor(phrase(processor, words)) for words in ("dogs", "red wine glass", "xyzzy")]
    prompts = torch.randn(3, model.segmenter.prompt_width)
    logits = model.draw_masks(features, prompts, torch.tensor([0, 1, 1]), phrases)
    assert len(logits) == 3
    other = model.draw_masks(features, prompts.flip(0), torch.tensor([0, 1, 1]), phrases)
    assert not torch.allclose(logits, other)


def test_prompts_move_onto_the_nearest_finding_of_their_name(whole: Any) -> None:
    model, width = whole[0], whole[0].segmenter.prompt_width
    dogs = [Finding("dog", 0.9, (0.5, x), 0.1) for x in (0.2, 0.8)]
    exact = point_prompt(torch.tensor([[0.5, 0.2], [0.5, 0.8]]), torch.tensor([0.1, 0.1]), width)
    said = point_prompt(torch.tensor([[0.45, 0.7]] * 2), torch.tensor([0.2, 0.2]), width).requires_grad_()
    moved = model.placed(said, ["dog", "cat"], [[*dogs, Finding("cat", 0.2, (0.5, 0.7), 0.1)], dogs])
    assert torch.allclose(moved[0], exact[1], atol=1e-6)
    assert torch.allclose(moved[1], said[1], atol=1e-6), "no finding of its name, no other place"
    moved.sum().backward()
    assert torch.equal(said.grad, torch.ones_like(said)), "the language model still learns from masks"


def test_pictures_alone_are_enough_for_a_forward_pass(whole: Any, seen: Any) -> None:
    model, processor = whole
    pixels, streams, features = seen
    turns = [
        ("user", "Where is the dog?"),
        ("assistant", "Here is the <p> dog </p> [SEG] (IMAGE2) in image 2."),
    ]
    item = {"num_images": 2, "seg_image_index": [1]} | processor.encode_turns(turns, 2)
    batch = processor.collate([item])
    with torch.no_grad():
        looked = model(**batch, **pixels).mask_logits
        given = model(**batch, **streams, segmenter_features=features).mask_logits
    assert looked.shape == (1, 208, 208)
    assert torch.equal(looked, given)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("dog", "dog"),
        ("dogs", "dog"),
        ("dog's head", "dog head"),
        ("dogs' heads", "dog head"),
        ("brown teddy bear", "teddy bear"),
        ("trousers", "trousers"),
    ],
)
def test_phrases_lead_to_names(whole: Any, words: str, name: str) -> None:
    model, processor = whole
    assert model.name_of(phrase(processor, words), []) == name


def test_an_unknown_phrase_is_taken_for_what_was_found(whole: Any) -> None:
    model, processor = whole
    found = [Finding("sofa", 0.9, (0.5, 0.5), 0.1), Finding("fire engine", 0.5, (0.5, 0.5), 0.1)]
    found = [f for f in found if f.name in known_kinds().names] or found[:1]
    assert model.name_of(phrase(processor, "sofa xyzzy"), found) == "sofa"


def test_a_session_answers_and_draws(whole: Any, tmp_path: Path) -> None:
    model, processor = whole
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    session = segue.load(str(tmp_path / "model")).session([tmp_path / "a.png"])
    answer = session.ask("Where is the dog?", max_new_tokens=20)
    assert list(answer.image_hws) == [(30, 50)]
    assert all(g.mask.shape == (30, 50) for g in answer.groundings)


def test_a_region_is_read_as_what_lies_under_it(whole: Any, seen: Any) -> None:
    model, _ = whole
    features = seen[2]
    one = {name: value[:1] for name, value in features.items()}
    grid = torch.zeros(2, 64, 64)
    grid[0, 4:20, 8:40] = 1
    grid[1, :40] = 1
    ids = model.pool_regions({}, one, grid)
    assert ids.shape == (2, model.region_width)
    under = model.segmenter.under(one, grid[0])
    # Of 40 x 60 pixels in a square of 416: 277 rows of it; the mark covers rows 26 to 130, columns 52 to 260.
    assert under.centre_yx == pytest.approx((78 / 277, 156 / 416), abs=0.02)
    assert under.area == pytest.approx(104 * 208 / (277 * 416), rel=0.1)
    assert ids[0].tolist()[: len(model.spell.finding(under))] == model.spell.finding(under)
    spelled = model.region_reader(ids)
    assert spelled.shape == (2, 32)
    # A mark is the very token that the same finding of an image is.
    place = model.spell([[under]])[:, :1]
    assert torch.equal(spelled[:1], embed_findings(model.get_input_embeddings(), place)[0][0])


def test_a_session_reads_regions(whole: Any, tmp_path: Path) -> None:
    model, processor = whole
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    for name in ("a", "b"):
        picture = np.random.default_rng(ord(name)).integers(0, 256, (30, 50, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    session = segue.load(str(tmp_path / "model")).session([tmp_path / "a.png", tmp_path / "b.png"])
    mark = Region(image_index=0, box=(5, 5, 25, 20))
    answer = session.ask("Find [this] in the other image.", regions=[mark], max_new_tokens=12)
    assert len(answer.regions) == 1
    answer = session.ask("And the quokkas?", max_new_tokens=4)
    assert answer.notes[-1] == "words that this model does not know: quokkas"


def test_files_bring_it_back(whole: Any, seen: Any, tmp_path: Path) -> None:
    model, _ = whole
    pixels, streams, features = seen
    model.save_pretrained(tmp_path)
    back = EmbeddedModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        again, features_again = back.encode(pixels)
    assert torch.equal(streams["finding_ids"], again["finding_ids"])
    assert all(torch.equal(features[name], features_again[name]) for name in features)
    # The trunk comes with its package and must not be saved with the weights.
    assert not any("trunk" in name or "outside" in name for name in back.state_dict())
