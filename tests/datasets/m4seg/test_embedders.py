"""Embedders: the embedded model's and any DINOv2 of transformers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m4seg_images import Thumbnails
from segue.datasets.m4seg.embedders import MiniEmbedder, open_embedder
from segue.datasets.m4seg.features import EmbedImages, Features
from segue.datasets.stages.stages import run_stage
from segue.errors import ModelError


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(60, 40), (40, 60), (50, 50)]
    return [Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)) for shape in shapes]


def test_the_embedded_model_tells_pictures_apart() -> None:
    mini = open_embedder("segue-scenes")
    assert isinstance(mini, MiniEmbedder)
    found = mini(pictures())
    assert found.shape == (3, mini.dim)
    again = mini(pictures()[1:2])
    assert np.allclose(found[1], again[0], atol=1e-4), "neither order nor company matters"
    assert len(mini.digest) == 64


def test_a_dinov2_from_a_folder(tmp_path: Path) -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 224}
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, patch_size=56)).save_pretrained(
        tmp_path / "d"
    )
    dino = open_embedder(str(tmp_path / "d"))
    assert (dino.name, dino.dim, dino.near_duplicate) == ("d", 16, 0.02)
    assert dino(pictures()).shape == (3, 16)
    with pytest.raises(ModelError, match="embedder"):
        open_embedder(str(tmp_path / "nothing"))


class OneImage:
    """A store of pictures, one of which is no image."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "a.png", folder / "broken.png"]
        pictures()[0].save(self.paths[0])
        self.paths[1].write_bytes(b"no image")

    def __getitem__(self, row: int) -> "OneImage":
        self.path = str(self.paths[row])
        return self


def test_a_broken_image_is_near_to_nothing(tmp_path: Path) -> None:
    work = EmbedImages(OneImage(tmp_path), Thumbnails())  # type: ignore[arg-type]
    output = run_stage(tmp_path / "features", [range(2)], work, config={}, inputs={}, progress=False)
    rows = Features(output).take(np.arange(2))
    assert np.linalg.norm(rows[0]) == pytest.approx(1, abs=1e-3)
    assert not rows[1].any()
    assert output.counts()["image files that cannot be read"] == 1
