"""Folders of weights that are no model yet are named, with the step that is missing."""

from pathlib import Path

import pytest

from segue.errors import ModelError
from segue.models import auto
from segue.models.conversion.checkpoints import open_checkpoint
from segue.models.folder_kind import foreign, unfinished

POINTER = b"version https://example.org/spec/v1\noid sha256:4d7a\nsize 12345\n"


def fill(folder: Path, *names: str, content: bytes = b"{}") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("names", "content", "said"),
    [
        (["zero_to_fp32.py", "latest"], b"", "zero_to_fp32"),
        (["global_step500/mp_rank_00_model_states.pt"], b"", "merge the adapters"),
        (["mp_rank_00_model_states.pt"], b"", "DeepSpeed"),
        (["adapter_config.json", "adapter_model.safetensors"], b"{}", "merge"),
        (["final/config.json", "recipe.yaml"], b"{}", "final"),
        (["checkpoint-20/config.json", "run.json"], b"{}", "goes on from its last checkpoint"),
        (["config.json", "model.safetensors"], POINTER, "git lfs pull"),
    ],
)
def test_what_is_missing_is_said_by_load_and_by_convert(
    tmp_path: Path, names: list[str], content: bytes, said: str
) -> None:
    folder = fill(tmp_path / "weights", *names, content=content)
    assert unfinished(folder) is not None
    for look in (auto.weights_folder, open_checkpoint):
        with pytest.raises(ModelError) as caught:
            look(folder)
        assert said in str(caught.value)
        assert "again" not in caught.value.fix


def test_other_projects_checkpoints_and_hub_names_are_to_be_converted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "llava", "config.json", content=b'{"model_type": "llava"}')
    assert foreign(folder) is None  # nothing to convert without weights
    fill(folder, "pytorch_model.bin", content=b"PK\x03\x04")
    bare = fill(tmp_path / "bare", "lisa.pth", content=b"PK\x03\x04")
    for name in (folder, bare, "someone/LISA-7B"):
        with pytest.raises(ModelError, match="segue convert"):
            auto.weights_folder(name)


def test_a_whole_model_is_none_of_these(tmp_path: Path) -> None:
    folder = fill(tmp_path / "m", "config.json", "processor_config.json", "model.safetensors")
    assert unfinished(folder) is None
    assert unfinished(tmp_path / "absent") is None
