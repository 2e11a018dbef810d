"""Protocols: orders decide nothing, wording nothing where it does not count, failures nothing but zero."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue import masks
from segue.errors import InputError, RecordError
from segue.evaluation.predictions import Answer
from segue.evaluation.protocols import PROTOCOLS, protocol_of
from segue.evaluation.samples import Sample, all_samples
from segue.evaluation.scores import pair_up, summarise
from segue.evaluation.strata import answer_labels, category_counts, group_order, target_labels
from segue.metrics.matching import GroundedMask
from segue.metrics.similarity import SemanticSimilarity
from segue.records import Conversation, ImageRef, Region, Span, Turn

PHRASES = ("red mug", "mug", "lamp")
MARK = st.builds(
    lambda image, phrase, mask: GroundedMask(image, phrase, masks.encode(mask)),
    st.integers(0, 1), st.sampled_from(PHRASES), arrays(bool, (3, 4)),
)  # fmt: skip
MARKS = st.lists(MARK, max_size=3)
PAIR = st.tuples(MARKS, MARKS, st.sampled_from(["", "timeout"]))
ORDERED = ("m4seg", "prist", "reasonseg", "refcoco", "gcg")
PUBLISHED_LOOPS = {"recall_glamm", "mean_iou_matched"}
"""Those follow the order in which their published code meets equal IoUs."""


def similarity() -> SemanticSimilarity:
    return SemanticSimilarity(lambda texts: np.array([[len(t), 1.0] for t in texts]))


def sample(name: str, targets: list[GroundedMask], **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "conversation_id": name, "turn": 1, "question": "What?", "reference": "The red mug.", "num_images": 2,
        "targets": tuple(targets), "labels": tuple(t.phrase for t in targets),
        "levels": ("object",) * len(targets), "num_objects": 2,
    }  # fmt: skip
    return Sample(**(fields | changes))


def numbers(samples: list[Sample], answers: dict[Any, Answer], name: str) -> dict[str, float | None]:
    found = summarise(pair_up(samples, answers, similarity()), PROTOCOLS[name](), drawings=0)
    return {k: v for k, v in found.items() if (v is None or isinstance(v, float)) and k != "seconds_per_turn"}


@settings(max_examples=25)
@given(st.lists(PAIR, min_size=1, max_size=3), st.sampled_from(ORDERED), st.integers(0, 99))
def test_no_order_decides(pairs: list[Any], name: str, seed: int) -> None:
    rng = random.Random(seed)
    samples = [sample(f"c{k}", targets) for k, (targets, _, _) in enumerate(pairs)]
    answers = {
        (f"c{k}", 1): Answer("A mug.", tuple(drawn), failure) for k, (_, drawn, failure) in enumerate(pairs)
    }
    before = numbers(samples, answers, name)
    mixed, swapped = [], {}
    for one in rng.sample(samples, len(samples)):
        # Targets and predictions in another order, and the two images changed about.
        order = rng.sample(range(len(one.targets)), len(one.targets))
        targets = [flipped(one.targets[k]) for k in order]
        mixed.append(sample(one.conversation_id, targets))
        answer = answers[one.key]
        drawn = [flipped(mark) for mark in rng.sample(answer.masks, len(answer.masks))]
        swapped[one.key] = Answer(answer.text, tuple(drawn), answer.failure)
    after = numbers(mixed, swapped, name)
    assert after.keys() == before.keys()
    for key in before.keys() - PUBLISHED_LOOPS:
        expected = before[key]
        assert after[key] == (None if expected is None else pytest.approx(expected, abs=1e-6)), key


@given(st.lists(MARK, min_size=1, max_size=2), MARKS, st.sampled_from(ORDERED))
def test_a_wrong_mask_more_raises_no_score(
    targets: list[GroundedMask], drawn: list[GroundedMask], name: str
) -> None:
    one = sample("c", targets, num_images=3)
    wrong = GroundedMask(2, "zebra", masks.encode(np.ones((3, 4), bool)))
    before, after = (
        numbers([one], {one.key: Answer("A mug.", tuple(marks))}, name) for marks in (drawn, [*drawn, wrong])
    )
    # Less of these two is better; that something was drawn at all is what T-acc. asks by its definition.
    for key in before.keys() - {"hallucinated_mask_rate", "present_refused", "target_accuracy"}:
        had = before[key]
        if had is not None:
            assert (after[key] or 0.0) <= had + 1e-9, key
    assert (after.get("hallucinated_mask_rate", 1.0) or 0.0) > 0


def flipped(mark: GroundedMask) -> GroundedMask:
    return GroundedMask(1 - mark.image_index, mark.phrase, mark.rle)


@given(
    st.lists(MARK, min_size=1, max_size=3), st.text(max_size=12), st.sampled_from(["reasonseg", "refcoco"])
)
def test_a_perfect_mask_scores_one_whatever_it_is_called(
    targets: list[GroundedMask], wording: str, name: str
) -> None:
    drawn = tuple(GroundedMask(mark.image_index, wording, mark.rle) for mark in targets)
    found = numbers([sample("c", targets)], {("c", 1): Answer(wording, drawn)}, name)
    assert found["mean_iou"] == 1.0


@given(st.lists(MARK, min_size=1, max_size=2), MARKS, st.sampled_from(ORDERED))
def test_failures_count_as_zero(targets: list[GroundedMask], drawn: list[GroundedMask], name: str) -> None:
    one = sample("c", targets)
    found = numbers([one], {one.key: Answer("The red mug.", tuple(drawn), "timeout")}, name)
    missing = numbers([one], {}, name)
    assert found == missing
    if any(masks.area(mark.rle or {}) for mark in targets):
        assert found["mean_iou"] == 0.0
    for key in ("phrase_f1", "exact_match", "bleu_4", "recall"):
        assert not found.get(key), key


def test_a_failure_refuses_nothing() -> None:
    absent = sample("c", [])
    for name in ("m4seg", "reasonseg"):
        refused = numbers([absent], {absent.key: Answer("There is none.")}, name)
        assert refused["absent_refused"] == 1.0
        assert numbers([absent], {}, name)["absent_refused"] == 0.0
    assert numbers([absent], {}, "reasonseg")["no_target_accuracy"] == 0.0
    assert numbers([absent], {}, "reasonseg")["mean_iou"] == 0.0


def test_prist_unites_the_masks_of_a_dialogue() -> None:
    left, right = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    left[:, :2], right[:, 2:] = True, True
    whole = GroundedMask(0, "wall", masks.encode(left | right))
    turns = [sample("d", [], turn=1), sample("d", [whole], turn=2)]
    answers = {
        ("d", 1): Answer("The red mug.", (GroundedMask(0, "left", masks.encode(left)),)),
        ("d", 2): Answer("The red mug.", (GroundedMask(0, "right", masks.encode(right)),)),
    }
    found = summarise(pair_up(turns, answers), PROTOCOLS["prist"](), drawings=0)
    assert (found["mean_iou"], found["pixel_f1"], found["rouge_l"]) == (1.0, 1.0, pytest.approx(100))
    assert found["by_turn"]["2"]["mean_iou"] == 0.5
    assert found["by_turn"]["1"]["bleu_4"] is not None, "a curve of the text over turns"
    assert found["meteor"] is not None or "WordNet" in found["not_available"]["meteor"]


def hallusegbench(variants: tuple[str, ...]) -> tuple[list[Sample], dict[Any, Answer]]:
    mask = GroundedMask(0, "", masks.encode(np.eye(3, 4, dtype=bool)))
    shown = {"orgl_orgi", "edtl_edti"}
    samples = [
        sample(f"p/{v}", [mask] if v in shown else [], num_images=1, pair="p", variant=v) for v in variants
    ]
    answers = {s.key: Answer("It.", (mask,) if s.variant in shown else ()) for s in samples}
    return samples, answers


def test_hallusegbench_pairs_records() -> None:
    samples, answers = hallusegbench(("orgl_orgi", "edtl_orgi", "orgl_edti", "edtl_edti"))
    found = numbers(samples, answers, "hallusegbench")
    assert (found["iou_factual"], found["delta_iou_textual"]) == (1.0, None), (
        "refusals are left out officially"
    )
    assert (found["strict_delta_iou_textual"], found["strict_confusion_factual"]) == (1.0, 0.0)
    drawn = {key: Answer("It.", answers["p/orgl_orgi", 1].masks) for key in answers}
    fooled = numbers(samples, drawn, "hallusegbench")
    assert (fooled["delta_iou_visual"], fooled["confusion_factual"]) == (0.0, 1.0)
    with pytest.raises(RecordError, match="do not fit"):
        numbers([*samples, sample("p/5", [], pair="p", variant="orgl_orgi")], {}, "hallusegbench")


def test_gcg_has_average_precision_and_captions() -> None:
    mark = GroundedMask(0, "red mug", masks.encode(np.eye(3, 4, dtype=bool)))
    one, two = sample("a", [mark], num_images=1), sample("b", [mark], num_images=1, reference="A lamp there.")
    answers = {("a", 1): Answer("The red mug.", (mark,)), ("b", 1): Answer("A lamp there.", (mark,))}
    found = numbers([one, two], answers, "gcg")
    for name in ("ap50", "mean_iou_matched", "recall_glamm", "mean_iou", "recall"):
        assert found[name] == pytest.approx(1.0), name
    assert found["cider"] is not None
    assert found["cider"] > 0


def test_without_an_embedder_the_reason_is_said() -> None:
    found = summarise(
        pair_up([sample("c", [])], {}), PROTOCOLS["m4seg"](), no_embedder="none here", drawings=0
    )
    assert found["recall"] is None
    assert found["not_available"]["ss"] == "none here"


def test_the_protocol_follows_the_data() -> None:
    def record(task: str, **meta: Any) -> Conversation:
        image = ImageRef(image_id="t:0", path="0.png", height=3, width=4)
        turns = [Turn(role="user", text="q"), Turn(role="assistant", text="a")]
        return Conversation(
            id=task, task=task, split="val", images=[image], regions=[], turns=turns, meta=meta
        )

    for task, name in (("scenes", "m4seg"), ("prist", "prist"), ("grefseg", "refcoco"), ("gcg", "gcg")):
        assert protocol_of(None, [record(task)]).name == name
    assert protocol_of(None, [record("refseg", pair="p", variant="orgl_orgi")]).name == "hallusegbench"
    assert protocol_of("gcg", [record("scenes")]).name == "gcg"
    with pytest.raises(InputError, match="no such protocol"):
        protocol_of("coco", [])


def test_strata_of_answers_and_targets() -> None:
    big, small = np.zeros((120, 120), bool), np.zeros((120, 120), bool)
    big[:100, :100], small[:5, :5] = True, True
    region = {"kind": "object", "image_index": 0}
    record = Conversation(
        id="c", task="m4seg", split="val",
        images=[ImageRef(image_id="t:0", path="0.png", height=120, width=120)],
        regions=[
            Region(rid="a", name="wall", mask=masks.encode(big), **region),
            Region(rid="b", name="knob", mask=masks.encode(small), **(region | {"kind": "part"})),
        ],
        turns=[
            Turn(role="user", text="q"),
            Turn(role="assistant", text="wall knob", spans=[Span(start=0, end=4, rids=["a"]),
                                                            Span(start=5, end=9, rids=["b"])]),
        ],
        meta={"kind": "spatial", "level": "part"},
    )  # fmt: skip
    (one,) = all_samples([record])
    assert answer_labels(one) == {
        "by_turn": "1", "by_number_of_images": "1", "by_number_of_targets": "2", "by_number_of_objects": "1",
        "by_kind": "spatial", "by_level": "part",
    }  # fmt: skip
    wall, knob = target_labels(one, category_counts([one] * 11))
    assert wall == {
        "by_target_level": "object",
        "by_size": "large",
        "by_visibility": "20+%",
        "by_frequency": "common",
    }
    assert (knob["by_target_level"], knob["by_size"], knob["by_visibility"]) == ("part", "small", "<1%")
    names = ["20+%", "1-5%", "<1%", "5-20%"]
    assert sorted(names, key=group_order) == ["<1%", "1-5%", "5-20%", "20+%"]
    assert sorted(["large", "small", "medium"], key=group_order) == ["small", "medium", "large"]
