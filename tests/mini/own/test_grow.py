"""A grown model holds new names, and what it knew stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import segue
from segue.mini.own.grow import grow
from segue.mini.own.names import OwnNames
from segue.models.mini.presence import GROUPS

OWN = OwnNames(
    {},
    (
        {"name": "zorble"},
        {"name": "zorble left stripe", "whole": "zorble", "part": "left stripe"},
        {"name": "dog"},
        {"name": "car wheel", "whole": "car", "part": "wheel"},
    ),
    (),
)


@pytest.fixture
def pair(start: Path) -> tuple[Any, Any]:
    """The start model as it is, and grown."""
    before, after = (segue.load(start, device="cpu") for _ in range(2))
    grow(after.model, after.processor, OWN)  # type: ignore[arg-type]
    return before, after


def test_what_was_known_is_seen_and_drawn_as_before(start: Path) -> None:
    torch.manual_seed(5)
    picture = torch.randn(1, 3, 416, 416)
    before: Any = segue.load(start, device="cpu")
    after: Any = segue.load(start, device="cpu")
    grow(after.model, after.processor, OwnNames({}, OWN.entries[:3], ()))
    with torch.no_grad():
        was, now = (bundle.model.seeing.encode(picture) for bundle in (before, after))
        count = was["presence"].shape[1]
        assert torch.equal(now["cells"][:, : was["cells"].shape[1]], was["cells"])
        assert torch.equal(now["presence"][:, :count], was["presence"])
        prompts = torch.randn(1, before.model.segmenter.prompt_width)
        phrase = torch.tensor(
            before.processor.tokenizer("<p> dog </p>", add_special_tokens=False)["input_ids"]
        )
        drawn = [
            bundle.model.draw_masks(features, prompts, torch.tensor([0]), [phrase])
            for bundle, features in ((before, was), (after, now))
        ]
    assert torch.allclose(drawn[0], drawn[1], atol=1e-4)


def test_new_names_are_words_with_a_branch(pair: tuple[Any, Any]) -> None:
    _, after = pair
    model, tokenizer = after.model, after.processor.tokenizer
    table = model.seeing.eyes.table
    assert table.taught(0) == ("zorble", "zorble left stripe", "car wheel")
    assert [table.block(name) for name in OWN.names] == [1, 1, 0, 1]
    assert len(tokenizer(" zorbles", add_special_tokens=False)["input_ids"]) == 1
    assert (
        tokenizer.decode(tokenizer(" two zorbles", add_special_tokens=False)["input_ids"]) == " two zorbles"
    )
    assert {"zorble", "zorbles", "stripe"} <= after.processor.known_words
    phrase = tokenizer("<p> zorble's left stripes </p>", add_special_tokens=False)["input_ids"]
    assert model.name_of(phrase, []) == "zorble left stripe"
    wheel = tokenizer("<p> car's wheel </p>", add_special_tokens=False)["input_ids"]
    assert model.name_of(wheel, []) == "car wheel"
    row = list(table.names).index("zorble")
    assert int(model.seeing.eyes.presence.group[row]) == len(GROUPS)


def test_words_that_were_known_keep_ids_and_embeddings(pair: tuple[Any, Any]) -> None:
    before, after = pair
    old, new = before.processor.tokenizer.get_vocab(), after.processor.tokenizer.get_vocab()
    assert old.items() <= new.items()
    assert len(new) > len(old)
    tables = [bundle.model.get_input_embeddings().weight for bundle in pair]
    assert torch.equal(tables[0], tables[1][: len(tables[0])])
    assert len(tables[1]) == len(after.processor.tokenizer) == after.model.config.text_config.vocab_size


def test_the_branch_starts_as_the_first_readout(pair: tuple[Any, Any]) -> None:
    eyes = pair[1].model.seeing.eyes
    own, first = eyes.branches[0].readout, eyes.readout
    assert torch.equal(own.lateral16.weight, first.lateral16.weight)
    dog, row = eyes.table.shipped().index("dog"), OWN.names.index("dog")
    assert torch.equal(own.names.weight[row], first.names.weight[dog])


def test_files_bring_it_back_and_the_same_names_go_on(pair: tuple[Any, Any], tmp_path: Path) -> None:
    _, after = pair
    with torch.no_grad():
        after.model.seeing.eyes.branches[0].readout.names.bias.fill_(1.0)
    after.model.save_pretrained(tmp_path)
    after.processor.save_pretrained(tmp_path)
    back: Any = segue.load(tmp_path, device="cpu")
    assert torch.equal(back.model.seeing.eyes.branches[0].readout.names.bias, torch.ones(4))
    words = len(back.processor.tokenizer)
    grow(back.model, back.processor, OWN)
    assert len(back.model.seeing.eyes.branches) == 1
    assert torch.equal(back.model.seeing.eyes.branches[0].readout.names.bias, torch.ones(4))
    assert len(back.processor.tokenizer) == words
    grow(back.model, back.processor, OwnNames({}, ({"name": "blick"},), ()))
    table = back.model.seeing.eyes.table
    assert table.branches == (OWN.names, ("blick",))
    assert table.block("blick") == 2
    features = back.model.seeing.encode(torch.randn(1, 3, 416, 416))
    assert features["names"].shape[1] == len(table.trained())


def test_a_narrower_word_that_became_a_name_is_read_as_it_is(start: Path, tmp_path: Path) -> None:
    bundle: Any = segue.load(start, device="cpu")

    def read(processor: Any) -> str:
        ids = processor.encode_turns([("user", "Where is the german shepherd?")], 1)["input_ids"]
        return str(processor.tokenizer.decode(ids))

    assert "the dog?" in read(bundle.processor)
    grow(bundle.model, bundle.processor, OwnNames({}, ({"name": "german shepherd"},), ()))
    assert "the german shepherd?" in read(bundle.processor)
    bundle.processor.save_pretrained(tmp_path)
    assert "the german shepherd?" in read(type(bundle.processor).from_pretrained(tmp_path))
