"""Questions that point are asked with their regions, and fail in words where a model reads none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segue import masks
from segue.errors import RecordError
from segue.evaluation.marks import typed_questions
from segue.evaluation.run_conversation import run_conversation, run_conversations
from segue.evaluation.teacher_forced import force_conversation
from segue.inference import LoadedModel
from segue.records import Conversation, ImageRef, Region, Span, Turn
from tiny_model import picture

H, W = 40, 60


def box(left: int) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[5:25, left : left + 10] = True
    return mask


def record(mark: Span | None = None, id: str = "r") -> Conversation:
    """A mug is marked in image 1 and found in image 2; a follow-up asks for the marked one."""
    mark = mark or Span(start=5, end=9, rids=["a"])
    return Conversation(
        id=id,
        task="m4seg",
        split="test",
        images=[ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=H, width=W) for k in (0, 1)],
        regions=[
            Region(rid=rid, image_index=k, kind="object", name="mug", mask=masks.encode(box(left)))
            for rid, k, left in (("a", 0, 3), ("b", 1, 20), ("c", 0, 30))
        ],
        turns=[
            Turn(role="user", text="Find this in image 2.", spans=[mark]),
            Turn(role="assistant", text="Image 2 shows the mug.", spans=[Span(start=18, end=21, rids=["b"])]),
            Turn(role="user", text="And in image 1?"),
            Turn(role="assistant", text="Here is the mug.", spans=[Span(start=12, end=15, rids=["a"])]),
        ],
    )


def pictures() -> list[Any]:
    return [picture(), picture(shade=200)]


def test_marks_are_typed_in_brackets() -> None:
    (first, regions), second = typed_questions(record())
    assert first == "Find [this] in image 2."
    assert [(region.image_index, region.mask) for region in regions] == [(0, masks.encode(box(3)))]
    assert second == ("And in image 1?", ())
    both = record(Span(start=5, end=9, rids=["a", "c"], merge="union"))
    ((region,), _) = (regions for _, regions in typed_questions(both))
    union = masks.decode(region.mask)
    np.testing.assert_array_equal(union, box(3) | box(30))


def test_several_regions_of_a_phrase_cannot_be_typed(tiny_model: LoadedModel) -> None:
    for rids, merge in ((["a", "c"], None), (["a", "b"], "union")):
        with pytest.raises(RecordError, match="points at several regions"):
            typed_questions(record(Span(start=5, end=9, rids=rids, merge=merge)))  # type: ignore[arg-type]
    line = run_conversation(tiny_model, record(Span(start=5, end=9, rids=["a", "b"])), pictures())
    assert all("failure" in turn for turn in line["turns"])


@pytest.mark.parametrize("history", ["own", "truth"])
def test_a_session_is_asked_with_the_regions(
    pointing: LoadedModel, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    generate = pointing.model.generate_grounded

    def watched(**inputs: Any) -> Any:
        seen.append(int((inputs["input_ids"] == pointing.model.config.region_token_id).sum()))
        return generate(**inputs)

    monkeypatch.setattr(pointing.model, "generate_grounded", watched)
    line = run_conversation(pointing, record(), pictures(), history=history, max_new_tokens=8)
    assert [turn["question"] for turn in line["turns"]] == ["Find [this] in image 2.", "And in image 1?"]
    assert not any("failure" in turn for turn in line["turns"])
    assert seen == [1, 1], "the second question is asked after the first, which points"


def test_beside_questions_in_words(pointing: LoadedModel) -> None:
    plain = record(id="plain").model_copy(
        update={"turns": [Turn(role="user", text="Where is the mug?"), record().turns[1]]}
    )
    asked = [(record(id="a"), pictures()), (plain, pictures()), (record(id="b"), pictures())]
    together = run_conversations(pointing, asked, max_new_tokens=8)
    for line, (conversation, images) in zip(together, asked, strict=True):
        alone = run_conversation(pointing, conversation, images, max_new_tokens=8)
        assert [t["text"] for t in line["turns"]] == [t["text"] for t in alone["turns"]]


@pytest.mark.parametrize("history", ["own", "truth"])
def test_a_model_that_reads_no_regions_fails_the_question(tiny_model: LoadedModel, history: Any) -> None:
    first, second = run_conversation(
        tiny_model, record(), pictures(), history=history, max_new_tokens=8
    )["turns"]  # fmt: skip
    assert "never saw regions" in first["failure"]
    assert "failure" not in second


def test_forced_models_read_the_regions(pointing: LoadedModel, tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in (0, 1)]
    for path, image in zip(paths, pictures(), strict=True):
        image.save(path)
    seen: list[dict[str, Any]] = []

    def forward(**batch: Any) -> Any:
        seen.append(batch)
        return pointing.model(**batch)

    forward.device = torch.device("cpu")  # type: ignore[attr-defined]
    forward.region_reader = pointing.model.region_reader  # type: ignore[attr-defined]
    forward.config = pointing.model.config  # type: ignore[attr-defined]
    bundle = SimpleNamespace(model=forward, processor=pointing.processor)
    line = force_conversation(bundle, record(), paths)  # type: ignore[arg-type]
    assert [len(turn["groundings"]) for turn in line["turns"]] == [1, 1]
    (batch,) = seen
    assert batch["region_image_index"].tolist() == [0]
    assert float(batch["region_masks"].amax()) > 0.5
    assert int((batch["input_ids"] == pointing.model.config.region_token_id).sum()) == 1
