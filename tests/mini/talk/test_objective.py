"""Stage "talk": batches that agree with their labels, shares that add up, answers that are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from segue.mini.talk.build import build_talking, talking_tokenizer
from segue.mini.talk.conversation import compose
from segue.mini.talk.evaluate import Talker, conversation_of, evaluate, judge
from segue.mini.talk.kinds import known_kinds
from segue.mini.talk.objective import TalkObjective, pointed_columns, points_of
from segue.models.losses import IGNORE_INDEX
from segue.models.mini.findings import Finding
from segue.training.engine.accumulation import WHOLE, Share, total_counts

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return talking_tokenizer(known_kinds(), conversations=150)


@pytest.fixture
def stage(tokenizer: Any) -> Any:
    model, processor = build_talking(tokenizer, **SMALL)
    return model, processor, TalkObjective(model, processor, batch_size=4)


def test_every_known_name_is_one_token_a_word(tokenizer: Any) -> None:
    kinds = known_kinds()
    for name in kinds.names:
        words = name.replace("'s", " 's").replace("-", " - ").split()
        assert len(tokenizer.tokenize(f" {name}")) <= len(words) + name.count("'"), name


def test_any_typing_comes_back(tokenizer: Any) -> None:
    for text in (" Wo ist der Hund?", " où est le chien ?", " flümbus-42 (IMAGE1)", " 猫はどこ"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]).replace(" ", "") == text.replace(" ", "")


def test_answers_are_the_labels(stage: Any) -> None:
    _, processor, objective = stage
    conversation = compose(known_kinds(), np.random.default_rng(1), turns=1)
    encoded = objective.encoded(conversation)["encoded"]
    said = [i for i in encoded["labels"] if i != IGNORE_INDEX]
    assert processor.decode_markup(said) == conversation.exchanges[0].answer.markup


def test_a_step_changes_only_what_trains(stage: Any) -> None:
    model, _, objective = stage
    loss, readings = objective.loss(model, objective.batch(0))
    loss.backward()
    touched = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == set(objective.trainable)
    assert readings.keys() == {"text", "seg"}


def test_batches_depend_on_the_step_alone(stage: Any) -> None:
    model, processor, objective = stage
    later = objective.batch(9)
    again = TalkObjective(model, processor, batch_size=4).batch(9)
    assert later.keys() == again.keys()
    assert all(torch.equal(later[k], again[k]) for k in later)


def test_shares_add_up_to_the_whole(stage: Any) -> None:
    model, _, objective = stage
    objective.free_noise = 0.0  # drawn for each share
    whole = float(objective.loss(model, objective.share(3, WHOLE))[0].detach())
    shares = [objective.share(3, Share(k, 2)) for k in range(2)]
    totals = total_counts([objective.counts(s) for s in shares], torch.device("cpu"))
    parts = [float(objective.loss(model, s, totals)[0].detach()) for s in shares]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


def test_findings_reach_the_answer(stage: Any) -> None:
    model, _, objective = stage
    batch = objective.batch(0)
    batch.pop("points")
    usual = model(**batch).logits
    batch["finding_ids"] = batch["finding_ids"].roll(1, 0)
    assert not torch.allclose(usual, model(**batch).logits)


def test_right_answers_are_judged_right() -> None:
    for seed in range(40):
        conversation = conversation_of(known_kinds(), seed)
        for exchange in conversation.exchanges:
            prompts = points_of([f for _, f in exchange.found], 96)
            tally = judge(exchange.answer.markup, prompts, exchange, conversation.images)
            assert (tally.exact, tally.right, tally.silent) == (1, tally.expected, 0)
            assert tally.pointed == tally.points == len(exchange.found)


def test_the_wrong_image_and_the_wrong_instance_are_judged_wrong() -> None:
    left, right = (Finding("dog", 0.9, (0.5, x), 0.1) for x in (0.1, 0.9))
    images = [[left, right], [left]]
    conversation = compose(known_kinds(), np.random.default_rng(0), images=images, turns=1)
    exchange = conversation.exchanges[0]
    exchange.answer.text, exchange.answer.mentions = "", []
    exchange.answer.say("Here is the left ").ground("dog", 0, [left]).say(" in image 1.")
    elsewhere = exchange.answer.markup.replace("(IMAGE1)", "(IMAGE2)")
    assert judge(elsewhere, points_of([left], 96), exchange, images).right == 0
    assert judge(exchange.answer.markup, points_of([right], 96), exchange, images).pointed == 0
    assert judge(exchange.answer.markup, points_of([left], 96), exchange, images).pointed == 1


def test_a_model_that_knows_nothing_scores_nothing(stage: Any) -> None:
    model, processor, _ = stage
    torch.manual_seed(0)
    tallies = evaluate(Talker(model.eval(), processor), known_kinds(), 2)
    assert tallies["all"].answers > 0
    assert tallies["all"].exact == 0


def test_states_look_at_what_they_will_name() -> None:
    image, phrase, seg, other = 3, 5, 4, 9
    ids = [other, image, image, other, other, phrase, other, 6, seg, other, seg, other]
    labels = [IGNORE_INDEX] * 4 + ids[4:]
    found = pointed_columns(ids, labels, [2, 1], seg)
    # From the state that predicts the answer's first token on, and then from one [SEG] to the next.
    assert found == [(range(3, 8), 2), (range(8, 10), 1)]


def test_pointing_reaches_the_attention_of_its_heads(tokenizer: Any) -> None:
    model, processor = build_talking(tokenizer, **SMALL)
    objective = TalkObjective(model, processor, batch_size=4, pointing=1.0, pointing_heads=((0, 0),))
    loss, readings = objective.loss(model, objective.batch(0))
    assert readings["pointing_names"] > 0
    batch = objective.batch(1)
    states = batch["pointed"]
    tokens = batch["input_ids"][states.rows, states.starts]
    assert set(tokens.tolist()) <= {model.config.image_token_id, model.config.region_token_id}
    loss.backward()
    assert bool(model.language_model.model.layers[0].self_attn.k_proj.weight.grad.any())


def test_words_start_near_what_they_mean(tokenizer: Any) -> None:
    model, _ = build_talking(tokenizer)
    table = model.state_dict()["language_model.model.embed_tokens.weight"]

    def alike(first: str, second: str) -> float:
        one, other = (table[tokenizer.convert_tokens_to_ids(f"Ġ{word}")] for word in (first, second))
        return float(torch.cosine_similarity(one, other, dim=0))

    assert alike("dog", "dogs") > 0.5
    assert alike("sofa", "couch") > 0.5
    assert alike("dog", "animal") > 0.15
    assert abs(alike("dog", "where")) < 0.25
    assert alike("dog", "dogs") > alike("dog", "sofa") + 0.2


def test_simple_conversations_come_first(tokenizer: Any) -> None:
    model, processor = build_talking(tokenizer, **SMALL)
    first = TalkObjective(model, processor, batch_size=4, simple_until=8, simple_fade=8)
    assert int(first.batch(0)["num_images"].max()) <= 2
    later = [TalkObjective(model, processor, batch_size=8).batch(step)["num_images"] for step in range(8)]
    assert int(torch.cat(later).max()) > 2
