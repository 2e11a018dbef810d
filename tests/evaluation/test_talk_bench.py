"""Three ways to answer a talk: the same answers, and what each of them costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.cli import main
from segue.errors import InputError, ModelError
from segue.evaluation.talk_bench import Talk, _check_same, count_talk, flops_of, measure, read_talk
from segue.evaluation.talk_paths import AsPublished, Ours, PerTurn
from segue.inference import LoadedModel
from segue.models.seg_prompts import PromptState

SMALL = Talk(turns=3, images=2, size=64, max_new_tokens=30)


def calls(model: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts images that go through each encoder, and tokens that go through the language model."""
    seen = {"tower": 0, "sam": 0, "tokens": 0}

    def watch(part: Any, name: str, count: Any) -> None:
        forward = part.forward

        def noted(*args: Any, **kwargs: Any) -> Any:
            seen[name] += count(args, kwargs)
            return forward(*args, **kwargs)

        monkeypatch.setattr(part, "forward", noted)

    watch(model.vision_model, "tower", lambda a, k: len(a[0]))
    watch(model.sam.vision_encoder, "sam", lambda a, k: len(a[0] if a else k["pixel_values"]))
    norm = model.final_norm
    watch(norm, "tokens", lambda a, k: a[0].shape[1])
    return seen


def test_three_ways_give_the_same_answers_and_differ_in_what_they_compute_again(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for path in (Ours, PerTurn, AsPublished):
        with monkeypatch.context() as patched:
            seen = calls(tiny_model.model, patched)
            way = path(tiny_model, SMALL.pictures(), 30)
            answers = [way.ask(question) for question in SMALL.questions]
        found[path] = seen, answers
    ours, per_turn, published = (found[path] for path in (Ours, PerTurn, AsPublished))
    for answer, *others in zip(ours[1], per_turn[1], published[1], strict=True):
        _check_same({"ours": answer, "per_turn": others[0], "as_published": others[1]})
    tokens = [len(one.token_ids) for one in way.made]
    assert (ours[0]["tower"], ours[0]["sam"]) == (2, 2)
    # The segmenter looks at the images that get masks.
    drawn_in = sum(len({g.image_index for g in answer.groundings}) for answer in ours[1])
    assert (per_turn[0]["tower"], per_turn[0]["sam"]) == (3 * 2, drawn_in)
    assert published[0]["tower"] == 2 * sum(tokens), "the encoders run for every token"
    assert published[0]["sam"] == drawn_in > 2
    assert ours[0]["tokens"] < per_turn[0]["tokens"] < published[0]["tokens"] / 5


@pytest.mark.parametrize("position", ["before", "at"])
def test_the_published_way_has_the_prompts_of_generation(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch, position: Any
) -> None:
    monkeypatch.setattr(type(tiny_model.model), "prompt_state", PromptState(position, "after"))
    seg = tiny_model.model.config.seg_token_id
    way = AsPublished(tiny_model, SMALL.pictures(), 30)
    whole = way.generate("Which is larger?")
    inputs = way.inputs("Which is larger?")
    expected = tiny_model.model.generate_grounded(**inputs, max_new_tokens=30)
    assert whole.token_ids.tolist() == expected.token_ids.tolist()
    assert whole.finished
    torch.testing.assert_close(whole.seg_prompts, expected.seg_prompts, atol=1e-5, rtol=1e-4)
    # An answer that the budget ends at its `[SEG]`.
    way.max_new_tokens = whole.token_ids.tolist().index(seg) + 1
    cut = way.generate("Which is larger?")
    assert not cut.finished
    torch.testing.assert_close(cut.seg_prompts, whole.seg_prompts[:1], atol=1e-5, rtol=1e-4)


def test_the_file_of_a_measurement(tiny_model_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    call = ["bench", "--model", str(tiny_model_folder), "--conversation", "3x2", "--size", "64"]
    assert main([*call, "--device", "cpu", "--batch-sizes", "1,2", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["conversation"] == {"turns": 3, "images": 2, "size": 64}
    assert 0 < found["seconds"]["first_token"] < found["seconds"]["first_mask"] < found["seconds"]["answer"]
    totals = {name: path["total"] for name, path in found["paths"].items()}
    assert found["speedup_vs_as_published"] == pytest.approx(totals["as_published"] / totals["ours"])
    assert found["speedup_vs_per_turn"] == pytest.approx(totals["per_turn"] / totals["ours"])
    assert found["flops"]["ours"] < found["flops"]["per_turn"] < found["flops"]["as_published"]
    assert found["flops_ratio"]["as_published"] < 0.1
    assert [row["batch_size"] for row in found["throughput"]] == [1, 2]
    assert len(found["answer_tokens"]) == len(found["masks"]) == 3
    assert found["peak_memory_bytes"] > 2**20


def test_all_steps_of_the_published_way_are_told_by_three(tiny_model: LoadedModel) -> None:
    way = AsPublished(tiny_model, SMALL.pictures(), 30)
    answer = way.ask(SMALL.questions[0])
    talk = replace(SMALL, turns=2)
    counted = count_talk(tiny_model, talk, [answer, way.ask(talk.questions[1])], way.made)
    again = AsPublished(tiny_model, SMALL.pictures(), 30)
    everything = sum(flops_of(lambda q=question: again.ask(q)) for question in talk.questions)
    # Left out: the projection of each mask prompt, and the head over its phrase, which says how sure it is.
    assert counted["as_published"] == pytest.approx(everything, rel=3e-3)
    assert counted["as_published"] <= everything


def test_different_answers_are_not_compared(tiny_model: LoadedModel) -> None:
    answer = Ours(tiny_model, SMALL.pictures(), 30).ask("Which is larger?")
    other = replace(answer, markup="No.", groundings=[])
    with pytest.raises(ModelError, match="different answers"):
        _check_same({"ours": answer, "per_turn": other})


@pytest.mark.parametrize("text", ["5", "x3", "5x", "1x3", "5x10", "five x three", "5x0"])
def test_talks_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError):
        read_talk(text)
    assert read_talk("5x3") == Talk(5, 3)


def test_batch_sizes_that_are_none(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", str(tiny_model_folder), "--batch-sizes", "1,0"]) == 2
    assert "batch sizes" in capsys.readouterr().err
    with pytest.raises(InputError):
        measure(None, Talk(max_new_tokens=0))  # type: ignore[arg-type]


@torch.no_grad()
def test_families_with_positions_of_their_own_are_measured_too(tiny_tokenizer: Any) -> None:
    from segue.models.build import build_segue

    model, processor = build_segue(tiny_tokenizer)
    for parameter in model.parameters():
        # Large enough that positions matter.
        if parameter.ndim > 1:
            parameter.normal_(0, 0.3)
    loaded = LoadedModel(model, processor, "tiny-segue")
    asked = [path(loaded, SMALL.pictures(), 12) for path in (Ours, PerTurn, AsPublished)]
    for question in SMALL.questions[:2]:
        ours, per_turn, published = (way.ask(question) for way in asked)
        assert ours.markup == per_turn.markup == published.markup
        assert len(ours.markup) > 5
