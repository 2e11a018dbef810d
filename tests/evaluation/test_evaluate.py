"""Evaluation: an oracle scores one, silence scores zero, failures count, and the control exchanges images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import masks
from segue.errors import AlignmentError, InputError
from segue.evaluation.evaluate import AskingOptions, ScoringOptions, evaluate, exchange_images
from segue.evaluation.predictions import read_answer
from segue.evaluation.protocols import Item, M4SegProtocol
from segue.evaluation.run_conversation import run_conversation
from segue.evaluation.samples import samples_of, targets_of
from segue.evaluation.sentence_embedder import FoundEmbedder
from segue.inference.answer import SessionAnswer
from segue.inference.session import GroundingSession
from segue.records import Conversation, Grounding, ImageRef, Region, Span, Turn, write_jsonl
from segue.records.conversation import IgnoredArea
from tiny_model import picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

HW = (40, 60)


def block(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros(HW, bool)
    mask[top : top + side, left : left + side] = True
    return mask


MASKS = {"a": (0, block(0, 0)), "b": (1, block(5, 5)), "c": (1, block(20, 30)), "d": (0, block(20, 20))}


def conversation(number: int = 0, **changes: Any) -> Conversation:
    """Two questions over two images: a mug and a lamp; then the lamps of image 2, each."""
    regions = [
        Region(rid=rid, image_index=k, kind="object", name=rid, mask=masks.encode(m))
        for rid, (k, m) in MASKS.items()
    ]
    turns = [
        Turn(role="user", text="Which is larger?"),
        Turn(
            role="assistant",
            text="The red mug, not the lamp.",
            spans=[Span(start=4, end=11, rids=["a"]), Span(start=21, end=25, rids=["b"])],
        ),
        Turn(role="user", text="And the other one?"),
        Turn(role="assistant", text="Two lamps.", spans=[Span(start=4, end=9, rids=["b", "c"])]),
    ]
    meta = {
        "turns": [
            {"kind": "comparison", "level": "object", "needs_images": True},
            {"kind": "spatial", "level": "object", "needs_images": False},
        ]
    }
    images = [
        ImageRef(image_id=f"t:{number}_{k}", path=f"images/{number}_{k}.png", height=HW[0], width=HW[1])
        for k in range(2)
    ]
    fields: dict[str, Any] = {
        "id": f"t/{number}", "task": "scenes", "split": "test", "images": images, "regions": regions,
        "turns": turns, "meta": meta,
    }  # fmt: skip
    return Conversation(**(fields | changes))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three conversations with their pictures; returns the folder."""
    (tmp_path / "images").mkdir()
    for number in range(3):
        for k in range(2):
            picture(*HW, shade=40 + 60 * number + 20 * k).save(tmp_path / "images" / f"{number}_{k}.png")
    write_jsonl(tmp_path / "data.jsonl", [conversation(number) for number in range(3)])
    return tmp_path


Say = Callable[[int], list[tuple[str, int, np.ndarray]]]
"""Turn number -> what the scripted model says: phrase, image index, mask."""


def script(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    """Replace the session by one that answers by script; it opens images like the real one."""

    class Scripted(GroundingSession):
        def ask(self, text: str, **options: Any) -> SessionAnswer:
            said = say(len(self._answers))
            groundings = [Grounding(p, (0, len(p)), k, m, 0.9, masks.box(m)) for p, k, m in said]
            answer = SessionAnswer(
                text, "said", "said", groundings, image_hws=self.image_hws, images=self.names
            )
            self._answers.append(answer)
            return answer

    monkeypatch.setattr("segue.inference.loaded_model.GroundingSession", Scripted)


def truth(turn: int) -> list[tuple[str, int, np.ndarray]]:
    if turn == 0:
        return [("red mug", *MASKS["a"]), ("The lamp", *MASKS["b"])]
    # The other order: masks of one phrase in one image are paired by overlap.
    return [("lamps", *MASKS["c"]), ("lamps", *MASKS["b"])]


WORDS = FoundEmbedder(lambda texts: np.array([[len(t), 1.0, 3.0 * ("mug" in t)] for t in texts]), "by hand")
ASKING = ("history", "shuffle_images", "teacher_forced")


def run(model: LoadedModel, data: Path, **options: Any) -> dict[str, Any]:
    from segue.records import read_jsonl

    conversations = options.pop("conversations", None) or read_jsonl(data / "data.jsonl")
    asking = AskingOptions(**{name: options.pop(name) for name in ASKING if name in options})
    scoring = ScoringOptions(embedder=WORDS, report=options.pop("report", False), drawings=20)
    return evaluate(
        model,
        conversations,
        data / "out",
        root=data,
        asking=asking,
        scoring=scoring,
        overwrite=True,
        **options,
    )


def test_targets_follow_the_spans() -> None:
    first, second = (targets_of(conversation(), k) for k in (1, 3))
    assert [key(t) for t in first] == [(0, "red mug"), (1, "lamp")]
    assert [key(t) for t in second] == [(1, "lamps"), (1, "lamps")]
    assert (masks.decode(second[1].mark.rle) == MASKS["c"][1]).all()
    span = Span(start=0, end=5, rids=["a", "b", "c"], merge="union")
    turns = [Turn(role="user", text="q"), Turn(role="assistant", text="Lamps.", spans=[span])]
    targets = targets_of(conversation(turns=turns), 1)
    assert [key(t) for t in targets] == [(0, "Lamps"), (1, "Lamps")]
    assert masks.area(targets[1].mark.rle) == 200


def key(target: Any) -> tuple[int, str]:
    return target.mark.image_index, target.mark.phrase


def test_an_oracle_scores_one(tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, truth)
    metrics = run(tiny_model, data)
    for name in (
        "mean_iou",
        "recall_at_50",
        "cumulative_iou",
        "phrase_f1",
        "image_id_accuracy",
        "exact_match",
    ):
        assert metrics[name] == 1.0, name
    assert (metrics["n"], metrics["n_turns"], metrics["n_masks"]) == (3, 6, 12)
    assert metrics["phrase_f1_image_dependent"] == 1.0
    assert metrics["n_image_dependent"] == 3
    assert list(metrics["by_turn"]) == ["1", "2"]
    assert list(metrics["by_kind"]) == ["comparison", "spatial"]
    assert metrics["by_number_of_images"]["2"]["n_turns"] == 6
    assert metrics["by_level"]["object"]["mean_iou"] == 1.0
    assert metrics["failures"] == {"count": 0, "reasons": {}, "first": []}
    assert metrics["by_size"] == {"small": {**metrics["by_size"]["small"], "mean_iou": 1.0, "n_masks": 12}}
    assert metrics["by_number_of_targets"]["2"]["recall"] == 1.0
    assert metrics["mean_iou_by_class"] == 1.0
    assert metrics["intervals"]["mean_iou"] == [1.0, 1.0]
    assert metrics["header"]["protocol"] == "m4seg"
    assert len(metrics["header"]["weights_sha256"]) == len(metrics["header"]["data_sha256"]) == 64
    assert json.loads((data / "out" / "metrics.json").read_text()) == metrics
    lines = [json.loads(line) for line in (data / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["t/0", "t/1", "t/2"]
    assert lines[0]["images"] == ["images/0_0.png", "images/0_1.png"]
    assert [g["phrase"] for g in lines[0]["turns"][1]["groundings"]] == ["lamps", "lamps"]


def test_wrong_images_surplus_and_half_masks_by_hand(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = MASKS["a"][1].copy()
    half[:, 5:] = False
    said = {
        0: [("red mug", 0, half), ("lamp", 0, MASKS["a"][1]), ("chair", 1, MASKS["c"][1])],
        1: [("lamps", *MASKS["b"])],
    }
    script(monkeypatch, lambda turn: said[turn])
    metrics = run(tiny_model, data, limit=1)
    # Turn 1: the mug half covered, and wholly by what is called a lamp; the lamp missed. Turn 2: one of two.
    assert metrics["mean_iou"] == pytest.approx(((1 + 0) / 2 + (1 + 0) / 2) / 2)
    assert metrics["mean_iou_by_phrase"] == pytest.approx((0.5 + 0 + 1 + 0) / 4)
    # The half mask has an IoU of exactly 0.5, which is no hit.
    assert metrics["recall_at_50_by_phrase"] == pytest.approx(1 / 4)
    assert metrics["recall_at_50"] == pytest.approx(2 / 4)
    assert metrics["cumulative_iou"] == pytest.approx((100 + 0 + 100 + 0) / 400)
    assert metrics["phrase_f1"] == pytest.approx(2 * 2 / (2 * 2 + 2 + 2))
    # Of the names that are said, mug and lamps are in their images, the first lamp is not.
    assert metrics["image_id_accuracy"] == pytest.approx(2 / 3)
    assert metrics["exact_match"] == 0.0
    assert metrics["by_turn"]["2"]["phrase_f1"] == pytest.approx(2 / 3)
    assert metrics["n"] == 1


def test_failed_questions_count_as_zero(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(turn: int) -> list[tuple[str, int, np.ndarray]]:
        if turn == 0:
            raise AlignmentError("too few prompts", expected="2", found="1")
        raise AssertionError("a failed turn is not part of the history")

    script(monkeypatch, say)
    metrics = run(tiny_model, data)
    assert metrics["failures"]["count"] == 6
    assert metrics["failures"]["first"][0]["id"] == "t/0"
    assert "too few prompts" in metrics["failures"]["first"][0]["reason"]
    assert metrics["failures"]["reasons"] == {"AlignmentError: too few prompts": 6}
    assert (metrics["mean_iou"], metrics["phrase_f1"], metrics["exact_match"]) == (0.0, 0.0, 0.0)
    assert metrics["n_masks"] == 12


def test_unreadable_and_resized_images_count_as_zero(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, truth)
    (data / "images" / "0_0.png").write_text("no picture")
    picture(20, 20).save(data / "images" / "1_1.png")
    metrics = run(tiny_model, data)
    assert metrics["failures"]["count"] == 4
    reasons = [failure["reason"] for failure in metrics["failures"]["first"]]
    assert "not an image" in reasons[0]
    assert "another size" in reasons[2]
    assert metrics["mean_iou"] == pytest.approx(1 / 3)


def test_missed_empty_answers_and_empty_turns(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, lambda turn: [])
    nothing = conversation(
        turns=[Turn(role="user", text="Is there a boat?"), Turn(role="assistant", text="No.")], meta={}
    )
    metrics = run(tiny_model, data, conversations=[nothing])
    assert (metrics["exact_match"], metrics["phrase_f1"], metrics["absent_refused"]) == (1.0, None, 1.0)
    assert metrics["mean_iou"] is None
    assert metrics["not_available"]["phrase_f1"] == "nothing to score"
    assert metrics["by_kind"] == {}


def test_ignored_pixels_do_not_count(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = MASKS["a"][1].copy()
    half[:, 5:] = False
    script(monkeypatch, lambda turn: [("red mug", 0, half), ("lamp", *MASKS["b"])])
    ignore = [IgnoredArea(image_index=0, mask=masks.encode(MASKS["a"][1] & ~half))]
    images = [data / "images" / "0_0.png", data / "images" / "0_1.png"]
    record = conversation(ignore=ignore)
    line = run_conversation(tiny_model, record, images)
    item = Item(samples_of(record)[0], read_answer(line["turns"][0], "here"))
    assert M4SegProtocol().answer(item)["mean_iou"].value == 1.0


def test_regions_without_masks_fail_and_count(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, truth)
    bare = [
        Region(rid=r, image_index=k, kind="object", name=r, mask_ref="t:x#1") for r, (k, _) in MASKS.items()
    ]
    metrics = run(tiny_model, data, conversations=[conversation(regions=bare)])
    assert metrics["failures"]["count"] == 2
    assert "no mask to be scored" in metrics["failures"]["first"][0]["reason"]
    assert (metrics["n_masks"], metrics["mean_iou"]) == (4, 0.0)


def test_shuffled_images_are_scored_at_the_own_size(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, lambda turn: [("red mug", 0, np.ones((33, 33), bool)), ("lamp", *MASKS["b"])])
    picture(33, 33).save(data / "images" / "2_0.png")
    metrics = run(tiny_model, data, shuffle_images=True)
    assert metrics["failures"]["count"] == 0
    assert metrics["by_turn"]["1"]["phrase_f1"] == 1.0
    # All of the picture is drawn for a mug of 100 pixels; the lamp is where it always is.
    assert metrics["by_turn"]["1"]["mean_iou"] == pytest.approx((100 / 2400 + 1) / 2)
    lines = [json.loads(line) for line in (data / "out" / "predictions.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        assert not any(f"/{number}_" in path for path in line["images"])


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3, unique=True), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_exchanged_images_are_never_ones_own(numbers: list[list[int]], seed: int) -> None:
    shown = [[Path(f"{n}.png") for n in group] for group in numbers]
    pool = {path for paths in shown for path in paths}
    if any(len(pool - set(paths)) < len(paths) for paths in shown):
        with pytest.raises(InputError, match="not enough other images"):
            exchange_images(shown, seed)
        return
    exchanged = exchange_images(shown, seed)
    assert exchanged == exchange_images(shown, seed)
    for own, other in zip(shown, exchanged, strict=True):
        assert len(own) == len(other) == len(set(other))
        assert not set(own) & set(other)


@pytest.mark.parametrize("history", ["own", "truth"])
def test_history_is_the_models_own_or_the_records(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch, history: str
) -> None:
    seen: list[Sequence[tuple[str, str]]] = []
    encode = tiny_model.processor.encode_turns

    def spy(turns: Sequence[tuple[str, str]], *rest: Any, **named: Any) -> Any:
        seen.append(turns)
        return encode(turns, *rest, **named)

    monkeypatch.setattr(tiny_model.processor, "encode_turns", spy)
    metrics = run(tiny_model, data, limit=1, history=history)
    assert metrics["failures"]["count"] == 0
    record = "The <p> red mug </p> [SEG] (IMAGE1), not the <p> lamp </p> [SEG] (IMAGE2)."
    assert (seen[1][1] == ("assistant", record)) == (history == "truth")
    assert seen[1][0] == ("user", "Which is larger?")


def test_the_real_model_end_to_end(tiny_model: LoadedModel, data: Path) -> None:
    done: list[tuple[int, int]] = []
    metrics = run(tiny_model, data, progress=lambda k, n: done.append((k, n)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    # What the model knows by heart names both phrases of the first turn, in the right images.
    assert metrics["by_turn"]["1"]["phrase_f1"] == 1.0
    assert metrics["by_turn"]["1"]["image_id_accuracy"] == 1.0
    assert 0.0 <= metrics["mean_iou"] <= 1.0
    assert metrics["header"]["model"] == "tiny-taught"
    assert set(metrics["header"]["versions"]) >= {"segue", "torch", "transformers"}
    again = run(tiny_model, data, report=True)
    assert {k: v for k, v in again.items() if k != "seconds_per_turn"} == {
        k: v for k, v in metrics.items() if k != "seconds_per_turn"
    }
    page = (data / "out" / "report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') >= 8
    assert "tiny-taught, m4seg" in page


def test_batches_score_as_single_conversations(tiny_model: LoadedModel, data: Path) -> None:
    times = ("seconds_per_turn",)
    single = {k: v for k, v in run(tiny_model, data).items() if k not in times}
    batched = {k: v for k, v in run(tiny_model, data, batch_size=3).items() if k not in times}
    assert batched.keys() == single.keys()
    for name in ("phrase_f1", "image_id_accuracy", "mean_iou", "recall", "n_turns", "n_masks"):
        assert batched[name] == pytest.approx(single[name], abs=1e-3), name


def test_teacher_forcing_stands_beside(tiny_model: LoadedModel, data: Path) -> None:
    metrics = run(tiny_model, data, teacher_forced=True)
    forced = metrics["teacher_forced"]
    assert forced["phrase_f1"] == 1.0
    assert 0 <= forced["mean_iou"] <= 1
    gap = metrics["teacher_forced_gap"]["mean_iou"]
    assert gap == pytest.approx(forced["mean_iou"] - metrics["mean_iou"])
    assert len((data / "out" / "teacher_forced.jsonl").read_text().splitlines()) == 3


def test_a_folder_is_gone_on_with_or_left_alone(
    tiny_model: LoadedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.records import read_jsonl

    asked = []
    script(monkeypatch, lambda turn: asked.append(turn) or truth(turn))
    options: dict[str, Any] = {
        "root": data,
        "scoring": ScoringOptions(embedder=WORDS, report=False, drawings=0),
    }
    reader = read_jsonl(data / "data.jsonl")
    first = evaluate(tiny_model, reader, data / "out", **options)
    path = data / "out" / "predictions.jsonl"
    whole = path.read_bytes()
    # As a kill leaves it: two lines and a half.
    path.write_bytes(whole[: whole.rindex(b'{"id"') + 40])
    second = evaluate(tiny_model, reader, data / "out", **options)
    assert len(asked) == 8, "six questions, and the two of the third conversation again"
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["t/0", "t/1", "t/2"]
    assert second["mean_iou"] == first["mean_iou"] == 1.0
    with pytest.raises(InputError, match="another history"):
        evaluate(tiny_model, reader, data / "out", asking=AskingOptions(history="truth"), **options)
    assert path.read_bytes().startswith(whole[:200])


def test_unusable_options(tiny_model: LoadedModel, data: Path) -> None:
    with pytest.raises(InputError, match="history"):
        run(tiny_model, data, history="mine")
    with pytest.raises(InputError, match="limit 0"):
        run(tiny_model, data, limit=0)
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(tiny_model, [], data / "out")
    with pytest.raises(InputError, match="one id"):
        run(tiny_model, data, conversations=[conversation(), conversation()])
