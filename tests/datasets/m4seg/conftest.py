"""One small build for all tests of M4SEG that look at a finished one."""

from pathlib import Path

import pytest

from m4seg_images import Thumbnails, scene_specs
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.images import SourceSpec
from segue.datasets.m4seg.sampling import SamplingConfig

SAMPLING = SamplingConfig(test_share=0.3, per_class=2)


@pytest.fixture(scope="session")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[SourceSpec]:
    """Some 30 pictures of scenes."""
    return scene_specs(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def config(specs: list[SourceSpec]) -> BuildConfig:
    """Scenes, an embedder without a model, inline masks."""
    return BuildConfig(specs, Thumbnails(), SAMPLING)


@pytest.fixture(scope="session")
def built(config: BuildConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete build by rule."""
    out = tmp_path_factory.mktemp("built")
    Build(out, config, progress=False).run()
    return out
