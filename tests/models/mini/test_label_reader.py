"""The label reader: what it says, how it is spelled to the language model, and that nothing else moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segue.errors import ModelError
from segue.models.mini.label_reader import LOUDEST, LabelReader, contrasted, spelled
from segue.models.mini.modeling_mini import MiniModel
from segue.models.mini.presets_mini import segue_scenes_config, tiny_config

NAMES = ("coat", "dress", "hat")


def config_of(**overrides: Any) -> Any:
    return tiny_config(slot_classes=("mug", *NAMES), label_reader_names=NAMES, **overrides)


@pytest.fixture
def reader() -> LabelReader:
    torch.manual_seed(0)
    found: LabelReader | None = MiniModel(config_of()).label_reader
    assert found is not None
    return found.eval()


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, 3, 56, 56, generator=torch.Generator().manual_seed(seed))


def test_it_says_presence_and_attributes_of_every_name(reader: LabelReader) -> None:
    readings = reader(pixels(2))
    assert readings.shape == (2, len(NAMES), 1 + 11)
    assert readings.isfinite().all()


def test_a_picture_and_its_mirror_image_say_the_same(reader: LabelReader) -> None:
    image = pixels(1)
    torch.testing.assert_close(reader(image), reader(image.flip(-1)), atol=1e-5, rtol=1e-5)


def test_a_picture_is_read_at_several_sizes() -> None:
    torch.manual_seed(0)
    reader = MiniModel(config_of(label_reader_smaller=[40])).label_reader
    assert reader is not None
    reader.eval()
    images, seen = pixels(2), []
    hook = reader.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    readings = reader(images)
    hook.remove()
    assert seen == [56, 56, 40, 40]
    small = torch.nn.functional.interpolate(images, size=(40, 40), mode="bilinear", antialias=True)
    views = [reader.judge(*reader.maps(v)) for image in (images, small) for v in (image, image.flip(-1))]
    torch.testing.assert_close(readings, torch.stack(views).mean(0))


def test_images_of_a_batch_do_not_know_of_each_other(reader: LabelReader) -> None:
    images = pixels(3)
    alone = torch.cat([reader(image[None]) for image in images])
    torch.testing.assert_close(reader(images), alone, atol=1e-5, rtol=1e-5)


def test_the_loudest_cells_answer_for_the_image(reader: LabelReader) -> None:
    quiet = torch.zeros(1, len(NAMES) + 1, 6, 6)
    quiet[:, 0] = 9.0
    loud = quiet.clone()
    loud[0, 2].flatten()[:LOUDEST] = 18.0  # the second name, in a corner
    attributes, cells = torch.zeros(1, 11, 6, 6), torch.zeros(1, 64, 6, 6)
    attributes[0, 4].flatten()[:LOUDEST] = 7.0
    before, after = (reader.judge(names, attributes, cells)[0] for names in (quiet, loud))
    assert after[1, 0] > before[1, 0] + 1
    assert (after[[0, 2], 0] <= before[[0, 2], 0] + 1e-5).all()
    assert after[1, 1:].argmax() == 4
    assert after[1, 1 + 4] > 6.9, "its attribute is that of the cells that show it"


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_batches_move_only_while_it_trains(frozen: bool) -> None:
    reader = MiniModel(config_of()).label_reader
    assert reader is not None
    reader.requires_grad_(not frozen).train()
    before = {name: value.clone() for name, value in reader.named_buffers()}
    reader(pixels(4))
    moved = [name for name, value in reader.named_buffers() if not torch.equal(value, before[name])]
    assert bool(moved) is not frozen


def test_words_are_as_loud_as_the_name_is_there() -> None:
    names, attributes = torch.eye(2, 5), torch.eye(11, 5)[:, [4, 3, 2, 1, 0]]
    readings = torch.full((1, 2, 12), -30.0)
    readings[0, 0, 0], readings[0, 1, 0] = 30.0, -30.0
    readings[0, :, 1 + 1] = 30.0
    words = spelled(readings, names, attributes)[0]
    torch.testing.assert_close(words[0], names[0] + attributes[1])
    torch.testing.assert_close(words[1], torch.zeros(5))


def test_each_image_stands_out_from_those_beside_it() -> None:
    logits = torch.tensor([1.0, -1.0, 2.0, 2.0, 0.5, 7.0])
    readings = torch.stack([logits, logits + 10], dim=-1)[:, None]
    found = contrasted(readings, [2, 3, 1])
    assert torch.equal(found[..., 1], readings[..., 1])
    assert found[:, 0, 0].tolist() == [3.0, -3.0, 2.0, 2.0, -1.0, 7.0]
    assert torch.equal(contrasted(readings[5:], [1]), readings[5:])


def test_what_is_read_reaches_the_tokens_of_its_query(make: Callable[..., Any]) -> None:
    model = make(label_reader_names=NAMES)
    assert model.label_reader is not None
    images = pixels(2)
    ids, mask = torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.long)
    features = model.encode_features(pixel_values=images, pixel_values_aux=images, pixel_values_labels=images)
    changed = features | {"label_features": features["label_features"].clone()}
    changed["label_features"][1, 2, 0] += 9.0
    one, other = (model.encode_images([2], ids, mask, **f).tokens.detach() for f in (features, changed))
    moved = (one - other).abs().sum(-1) > 1e-6
    assert moved.nonzero().tolist() == [[0, 2], [1, 2]], "the third name, in contrast to the other image too"


def test_pixels_and_kept_features_give_the_same_tokens(make: Callable[..., Any]) -> None:
    model = make(label_reader_names=NAMES)
    images = pixels(2)
    ids, mask = torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.long)
    kept = model.encode_features(pixel_values=images, pixel_values_aux=images, pixel_values_labels=images)
    assert set(kept) == {"vision_features", "aux_features", "label_features"}
    one = model.encode_images(
        [2], ids, mask, pixel_values=images, pixel_values_aux=images, pixel_values_labels=images
    )
    torch.testing.assert_close(one.tokens, model.encode_images([2], ids, mask, **kept).tokens)


def test_half_precision_stays_half_precision(make: Callable[..., Any]) -> None:
    model = make(label_reader_names=NAMES).to(torch.bfloat16)
    images = pixels(2).to(torch.bfloat16)
    streams = dict.fromkeys(("pixel_values", "pixel_values_aux", "pixel_values_labels"), images)
    tokens = model.encode_images([2], torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.long), **streams)
    assert tokens.tokens.dtype == torch.bfloat16


@pytest.fixture
def make() -> Callable[..., Any]:
    """A tiny model whose slots name a mug and three garments."""

    def build(**overrides: Any) -> Any:
        names = ("mug", *NAMES)
        words = [[20 + k] for k in range(len(names) + 11)]
        torch.manual_seed(0)
        return MiniModel(tiny_config(slot_classes=names, slot_word_ids=words, **overrides)).eval()

    return build


def test_without_names_there_is_no_reader(make: Callable[..., Any]) -> None:
    assert make().label_reader is None
    assert segue_scenes_config().label_reader_config is None


@pytest.mark.parametrize("names", [("coat", "cloud"), ("coat",) * 6])
def test_names_that_cannot_be_spelled_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="label reader") as caught:
        tiny_config(slot_classes=("mug", *NAMES), label_reader_names=names)
    assert "slot_classes" in str(caught.value)


def test_a_reader_without_names_is_refused() -> None:
    with pytest.raises(ModelError, match="0 names"):
        tiny_config(slot_classes=NAMES, label_reader_config={"hidden_sizes": [4]})


def test_it_is_saved_and_loaded_with_its_statistics(make: Callable[..., Any], tmp_path: Any) -> None:
    model = make(label_reader_names=NAMES)
    model.label_reader.train()
    model.label_reader(pixels(4))
    torch.nn.init.normal_(model.label_reader.evidence)
    model.eval().save_pretrained(tmp_path)
    again = MiniModel.from_pretrained(tmp_path).eval()
    assert again.config.label_reader_config.hidden_sizes == [4, 4, 8, 8]
    torch.testing.assert_close(again.label_reader(pixels(1)), model.label_reader(pixels(1)))
