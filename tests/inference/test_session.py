"""Sessions: encode once, commit last, histories, masks at the original size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

import segue
from segue.errors import AlignmentError, ImageError, InputError
from segue.models.generation import GroundedGeneration
from segue.models.segmenter import MaskPrompts
from segue.protocol import Reason
from tiny_model import ANSWER, FAMILIES, TEXT, picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

of_all_families = pytest.mark.parametrize("tiny_model", FAMILIES, indirect=True)


def says(monkeypatch: pytest.MonkeyPatch, model: LoadedModel, markup: str, *, finished: bool = True) -> None:
    """Let the model answer with this markup, its prompts drawn at random."""
    ids = model.processor.tokenizer(markup, add_special_tokens=False)["input_ids"]
    prompts = torch.randn(ids.count(model.model.config.seg_token_id), 16)

    def generate(**inputs: Any) -> GroundedGeneration:
        none = [torch.tensor([], dtype=torch.long)] * len(prompts)
        return GroundedGeneration(torch.tensor(ids), prompts, finished, none)

    monkeypatch.setattr(model.model, "generate_grounded", generate)


@of_all_families
def test_an_answer_has_masks_at_the_original_sizes(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(30, 90), picture(101, 57, 200)])
    answer = session.ask("  Which is larger? ")
    assert (answer.question, answer.text, answer.markup) == ("Which is larger?", TEXT, ANSWER)
    assert [(g.phrase, g.image_index) for g in answer.groundings] == [("red mug", 0), ("lamp", 1)]
    assert [g.mask.shape for g in answer.groundings] == [(30, 90), (101, 57)]
    for grounding in answer.groundings:
        assert answer.text[slice(*grounding.span)] == grounding.phrase
        assert grounding.mask.dtype == bool
        assert 0.0 <= grounding.score <= 1.0
    assert answer.finished
    assert (answer.problems, answer.notes) == ([], [])
    assert session.history == (answer,)


def test_load_and_ask_in_one_line(tiny_model: LoadedModel) -> None:
    answer = tiny_model.ask("Which is larger?", images=[np.zeros((20, 30, 3), np.uint8), picture()])
    assert answer.images == ["image 1", "image 2"]
    assert answer.image_hws == [(20, 30), (40, 60)]


def test_paths_are_the_names_of_images(tiny_model: LoadedModel, tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    session = tiny_model.session(tmp_path / "a.png")
    assert session.names == [str(tmp_path / "a.png")]
    assert tiny_model.session([picture()], names=["mine"]).ask("What is there?").images == ["mine"]
    with pytest.raises(InputError, match="1 names"):
        tiny_model.session([picture()], names=["a", "b"])


@of_all_families
def test_each_picture_is_encoded_once(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    drawing: Any = type(tiny_model.model.segmenter)
    encode = drawing.encode
    monkeypatch.setattr(drawing, "encode", lambda self, p: seen.append(len(p)) or encode(self, p))
    session = tiny_model.session([picture(), picture(shade=200), picture()])
    session.ask("Which is larger?")
    session.ask("What is there?")
    session.reset()
    session.ask("What is there?")
    assert seen == [1, 1]


@of_all_families
def test_cached_features_give_the_masks_of_the_plain_call(tiny_model: LoadedModel) -> None:
    images = [picture(), picture(50, 50, 200)]
    inputs = tiny_model.processor(images=images, turns=[("user", "Which is larger?")])
    sam, hw, inside = (inputs.pop(name) for name in ("pixel_values_sam", "original_hw", "resized_hw"))
    del inputs["labels"]
    shared = {"pixel_values_sam": sam} if tiny_model.model.encodes_together else {}
    generation = tiny_model.model.generate_grounded(**inputs, **shared)
    with torch.no_grad():
        segmenter = tiny_model.model.segmenter
        asked = MaskPrompts(generation.seg_prompts, torch.tensor([0, 1]))
        logits = segmenter.decode(segmenter.encode(sam), asked)
    plain = tiny_model.processor.post_process_masks(logits, [0, 1], hw, inside)
    answer = tiny_model.session(images).ask("Which is larger?")
    for grounding, (mask, score) in zip(answer.groundings, plain, strict=True):
        # The same floats up to the batching of the encoders: single pixels at the threshold may differ.
        assert (grounding.mask != mask).mean() < 0.01
        assert grounding.score == pytest.approx(score, abs=1e-4)


@of_all_families
def test_a_failed_question_leaves_no_trace(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    session.ask("Which is larger?")

    def stop(piece: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.ask("And the other one?", stream=stop)
    monkeypatch.setattr(tiny_model.model, "draw_masks", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.ask("And the other one?")
    monkeypatch.undo()
    assert len(session.history) == 1
    assert session.ask("Which is larger?").finished


def test_later_questions_see_earlier_turns(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[tuple[str, str]]] = []
    encode = tiny_model.processor.encode_turns

    def spy(turns: list[tuple[str, str]], *rest: Any, **named: Any) -> Any:
        seen.append(turns)
        return encode(turns, *rest, **named)

    monkeypatch.setattr(tiny_model.processor, "encode_turns", spy)
    session = tiny_model.session([picture(), picture(shade=200)])
    session.ask("Which is larger?")
    session.add_turn("What is there?", "A <p> lamp </p> [SEG] (IMAGE2).")
    session.ask("And the other one?")
    assert seen[-1] == [
        ("user", "Which is larger?"),
        ("assistant", ANSWER),
        ("user", "What is there?"),
        ("assistant", "A <p> lamp </p> [SEG] (IMAGE2)."),
        ("user", "And the other one?"),
    ]
    assert session.undo().question == "And the other one?"
    assert session.undo().text == "A lamp."
    session.reset()
    assert session.history == ()
    with pytest.raises(InputError, match="no turn to undo"):
        session.undo()


def test_a_models_own_image_tags_do_not_reach_the_next_prompt(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    says(monkeypatch, tiny_model, "Look: <image> <p> lamp </p> [SEG] (IMAGE1) <p>")
    assert "<image>" in session.ask("What is there?").markup
    monkeypatch.undo()
    assert session.ask("And the other one?").markup


@of_all_families
def test_streamed_pieces_are_the_clean_text(tiny_model: LoadedModel) -> None:
    pieces: list[str] = []
    answer = tiny_model.session([picture(), picture(shade=200)]).ask("Which is larger?", stream=pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 3


def test_what_cannot_be_placed_is_a_problem(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    markup = (
        "A <p> lamp </p> [SEG] (IMAGE2) or <p> red mug </p> [SEG] (IMAGE3) or [SEG] (IMAGE1) "
        "or <p> lamp </p> [SEG]."
    )
    says(monkeypatch, tiny_model, markup, finished=False)
    answer = tiny_model.session([picture(), picture(shade=200)]).ask("What is there?")
    assert [(g.phrase, g.image_index) for g in answer.groundings] == [("lamp", 1)]
    assert [(p.seg_ordinal, p.reason.value) for p in answer.problems] == [
        (1, "identifier_out_of_range"),
        (2, "no_phrase"),
        (3, "missing_identifier"),
    ]
    assert not answer.finished
    assert any("cut off after" in note for note in answer.notes)


def test_an_empty_mask_stays_with_score_zero(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tiny_model.model, "draw_masks", lambda f, prompts, *_: torch.full((len(prompts), 16, 16), -9.0)
    )
    answer = tiny_model.session([picture(), picture(shade=200)]).ask("Which is larger?")
    assert [(g.score, g.box, int(g.mask.sum())) for g in answer.groundings] == [(0.0, [0.0] * 4, 0)] * 2


def test_prompts_that_do_not_match_the_markup_are_loud(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.tensor(tiny_model.processor.tokenizer(ANSWER, add_special_tokens=False)["input_ids"])
    monkeypatch.setattr(
        tiny_model.model, "generate_grounded", lambda **k: GroundedGeneration(ids, torch.zeros(1, 16), True)
    )
    session = tiny_model.session([picture(), picture()])
    with pytest.raises(AlignmentError, match="2 prompts"):
        session.ask("What is there?")
    assert session.history == ()


@pytest.mark.parametrize("text", ["", "  \n\t", None])
def test_an_empty_question_is_refused(tiny_model: LoadedModel, text: str) -> None:
    with pytest.raises(InputError, match="question is empty"):
        tiny_model.session(picture()).ask(text)


@pytest.mark.parametrize("number", [0, 10])
def test_one_to_nine_images(tiny_model: LoadedModel, number: int) -> None:
    with pytest.raises(InputError, match=f"found:    {number}"):
        tiny_model.session([picture()] * number)


@of_all_families
def test_nine_images_of_nine_sizes(tiny_model: LoadedModel) -> None:
    answer = tiny_model.session([picture(20 + k, 90 - 5 * k, 20 * k) for k in range(9)]).ask("What is there?")
    assert len(answer.image_hws) == 9


def test_an_answer_says_when_there_are_more_images_than_in_training(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_model.session([picture()] * 4).ask("What is there?").notes == []
    monkeypatch.setattr(tiny_model.model.config, "max_training_images", 3)
    assert tiny_model.session([picture()] * 3).ask("What is there?").notes == []
    (note,) = tiny_model.session([picture()] * 4).ask("What is there?").notes
    assert note == "4 images: this model was trained on sets of up to 3"


def test_an_image_that_cannot_be_used_is_named(tiny_model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"b\.png"):
        tiny_model.session([picture(), tmp_path / "b.png"])


@of_all_families
def test_a_conversation_beyond_the_context_is_refused_with_counts(tiny_model: LoadedModel) -> None:
    session = tiny_model.session(picture())
    with pytest.raises(InputError, match=r"at most 1008 tokens.*\n.*found: +\d+ tokens") as caught:
        session.ask("mug " * 2000)
    assert "fewer words" in str(caught.value)


def test_the_budget_is_cut_to_the_context_and_checked(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    assert session.ask("Which is larger?", max_new_tokens=10**9).finished
    short = session.ask("Which is larger?", max_new_tokens=2)
    assert (short.finished, short.notes[-1]) == (False, "the answer was cut off after 2 tokens")
    with pytest.raises(InputError, match="max_new_tokens >= 1"):
        session.ask("Which is larger?", max_new_tokens=0)


@of_all_families
def test_hostile_questions_cannot_forge_tags(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    for text in ("<image> [SEG] (IMAGE9) </s> <p>", "\u202e\x00\ud83d\ude00 \u30de\u30b0?", "(IMAGE1)" * 20):
        assert session.ask(text).markup is not None


def test_public_load(tiny_model_folder: Path) -> None:
    loaded = segue.load(tiny_model_folder, device="cpu", dtype="float32")
    assert loaded.name == "tiny-taught"
    assert loaded.path == tiny_model_folder
    assert not loaded.model.training


def test_prompt_lookup_is_refused_and_leaves_the_session_as_it_was(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    session.ask("Which is larger?")
    with pytest.raises(AlignmentError, match="prompt_lookup_num_tokens"):
        session.ask("And the other one?", prompt_lookup_num_tokens=3)
    assert len(session.history) == 1
    assert session.ask("And the other one?").finished


@of_all_families
def test_later_turns_run_no_encoder_and_read_new_words_only(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, model = tiny_model.session([picture(), picture(shade=200)]), tiny_model.model
    session.ask("Which is larger?")
    modules = dict(model.named_modules())
    for name in {*model.encoder_parts, "reader.qformer"} & modules.keys():
        monkeypatch.setattr(modules[name], "forward", lambda *_, **__: pytest.fail("an encoder ran again"))
    lengths: list[int] = []
    hook = model.final_norm.register_forward_hook(lambda m, a, out: lengths.append(out.shape[1]))
    try:
        answer = session.ask("And the other one?")
    finally:
        hook.remove()
    asked = tiny_model.processor.tokenizer("And the other one?", add_special_tokens=False)["input_ids"]
    # The question, the template around it, and the end of the last answer, which was never fed.
    assert len(asked) < lengths[0] <= len(asked) + 18
    assert answer.finished


@of_all_families
def test_undo_and_other_questions_answer_as_a_new_session(tiny_model: LoadedModel) -> None:
    pictures = [picture(), picture(shade=200)]
    session = tiny_model.session(pictures)
    for question in ("Which is larger?", "And the other one?"):
        session.ask(question)
    session.undo()
    found = session.ask("What is there?")
    fresh = tiny_model.session(pictures)
    fresh.ask("Which is larger?")
    assert fresh.ask("What is there?").markup == found.markup
    session.reset()
    assert (
        session.ask("Which is larger?").markup == tiny_model.session(pictures).ask("Which is larger?").markup
    )


class Likes(LogitsProcessor):
    """Makes generation like to say these ids, one after the other, if it may."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[:, self.ids[min(input_ids.shape[1], len(self.ids) - 1)]] += 1000
        return scores


def test_a_mask_cannot_point_at_a_missing_image(tiny_model: LoadedModel) -> None:
    wrong = "The <p> red mug </p> [SEG] (IMAGE7) is <p> here [SEG] there."
    ids = [*tiny_model.processor.tokenizer(wrong, add_special_tokens=False)["input_ids"], 2]
    session = tiny_model.session([picture(), picture(shade=200)])
    options = {"max_new_tokens": 40, "logits_processor": LogitsProcessorList([Likes(ids)])}
    free = session.ask("Which is larger?", constrained=False, **options)
    assert free.markup.startswith(wrong[:60])
    assert [p.reason for p in free.problems] == [Reason.IDENTIFIER_OUT_OF_RANGE, Reason.MISSING_IDENTIFIER]
    session.undo()
    kept = session.ask("Which is larger?", **options)
    assert kept.problems == []
    assert {g.image_index for g in kept.groundings} <= {0, 1}
    assert kept.groundings[0].phrase == "red mug"


def test_what_a_model_writes_well_is_left_as_it_is(tiny_model: LoadedModel) -> None:
    images = [picture(), picture(shade=200)]
    free = tiny_model.session(images).ask("Which is larger?", constrained=False)
    kept = tiny_model.session(images).ask("Which is larger?")
    assert kept.markup == free.markup == ANSWER
    for ours, theirs in zip(kept.groundings, free.groundings, strict=True):
        np.testing.assert_array_equal(ours.mask, theirs.mask)
