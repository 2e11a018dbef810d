"""A probe gives the account of a conversion from headers alone, and takes headers for a stranger's text."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from authors_layouts import TINY_LLAMA, authors_like
from official import (
    CLIP_LARGE,
    CONVNEXT_L,
    LLAMA_7B,
    SAM_HUGE,
    convnext_shapes,
    linear,
    llama_config,
    llama_shapes,
    official_shapes,
    region_encoder_shapes,
    sam_shapes,
)
from official_sa2va import sa2va_shapes
from segue.cli import main
from segue.errors import ModelError
from segue.models.conversion import Checkpoint, Headers, open_headers, probe, target_shapes, write_report
from segue.models.conversion.probe import MAX_LAYERS
from segue.models.conversion.probe_report import condensed, report, told
from segue.models.presets import preset

Shape = tuple[int, ...]


def header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def entries(shapes: dict[str, Shape]) -> dict[str, Any]:
    """Entries of a header, half precision; the file may end behind it."""
    found, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        found[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    return found


def headers_only(folder: Path, shapes: dict[str, Shape], config: dict[str, Any], shards: int = 2) -> Path:
    """A repository of which only the beginnings of its shards were fetched."""
    folder.mkdir()
    names = list(shapes)
    parts = {f"model-{n + 1:05d}-of-{shards:05d}.safetensors": names[n::shards] for n in range(shards)}
    for file, members in parts.items():
        (folder / file).write_bytes(header(entries({n: shapes[n] for n in members})))
    listed = {name: file for file, members in parts.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def miras_full() -> dict[str, Shape]:
    """MIRAS at full size, ConvNeXt inside."""
    shapes = dict(llama_shapes(LLAMA_7B | {"vocab_size": 32005}))
    shapes |= {f"model.visual_model.{n}": s for n, s in sam_shapes(SAM_HUGE)}
    shapes |= dict(linear("model.text_hidden_fcs.0.0", 4096, 4096))
    shapes |= dict(linear("model.text_hidden_fcs.0.2", 256, 4096))
    shapes |= dict(linear("model.mm_projector.0", 4096, 1024)) | dict(
        linear("model.mm_projector.2", 4096, 4096)
    )
    aux = "model.vision_tower_aux."
    return shapes | dict(convnext_shapes(CONVNEXT_L, f"{aux}vision_stem", f"{aux}vision_stages"))


def full_size(kind: str) -> tuple[dict[str, Shape], dict[str, Any]]:
    if kind == "miras":
        mining: dict[str, Shape] = {}
        for name, shape in target_shapes(preset_model("miras-7b"), preset("miras-7b").config()).items():
            for word, theirs in (("query", "query"), ("key", "aux"), ("value", "val")):
                if name.startswith(f"fusion.{word}."):
                    rest = name.removeprefix(f"fusion.{word}.")
                    mining[f"model.vlm_uni_{theirs}_projector.{rest}"] = shape
        return miras_full() | mining, llama_config(LLAMA_7B)
    if kind == "lisa":
        shapes = official_shapes(
            "lisa", LLAMA_7B | {"vocab_size": 32003}, SAM_HUGE, CLIP_LARGE["hidden_size"]
        )
        return shapes, llama_config(LLAMA_7B)
    if kind == "llava":
        shapes = dict(llama_shapes(LLAMA_7B | {"vocab_size": 32000})) | dict(
            linear("model.mm_projector.0", 4096, 1024)
        )
        return shapes | dict(linear("model.mm_projector.2", 4096, 4096)), llama_config(LLAMA_7B)
    if kind == "sa2va":
        config: Any = preset("sa2va-4b").config()
        parts = {name: getattr(config, name).to_dict() for name in ("text_config", "vision_config")}
        return sa2va_shapes(parts["text_config"], parts["vision_config"]), parts
    glamm = official_shapes("glamm", LLAMA_7B, SAM_HUGE, CLIP_LARGE["hidden_size"]) | region_encoder_shapes()
    return glamm, llama_config(LLAMA_7B)


def preset_model(name: str) -> Any:
    from segue.models.modeling_miras import MirasModel

    assert name == "miras-7b"
    return MirasModel


ELSEWHERE = {
    "glamm": {"openai/clip-vit-large-patch14-336 (--clip)"},
    "lisa": {"openai/clip-vit-large-patch14 (--clip)"},
    "miras": {"openai/clip-vit-large-patch14-336 (--clip)"},
    "sa2va": set(),
    "llava": {
        "openai/clip-vit-large-patch14-336 (--clip)",
        "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup (--convnext)",
        "facebook/sam-vit-huge (--sam)",
    },
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_full_size_headers_are_enough(kind: str, tmp_path: Path) -> None:
    shapes, config = full_size(kind)
    folder = headers_only(tmp_path / "repository", shapes, config)
    assert sum(f.stat().st_size for f in folder.iterdir()) < 500_000, "headers of 14 GB"
    found = probe(open_headers(folder))
    assert (found.kind, found.fits, found.stopped) == (kind, True, "")
    assert set(found.elsewhere) == ELSEWHERE[kind]
    assert {f.name for f in found.fates} == set(shapes)
    assert all(bool(f.becomes) != bool(f.left_out) for f in found.fates)
    # The report is small, and whoever gets it finds the same.
    file = write_report(found, tmp_path / "report.json")
    assert file.stat().st_size < 120_000
    again = probe(open_headers(file))
    assert set(again.fates) == set(found.fates)
    assert (again.elsewhere, again.config) == (found.elsewhere, found.config)


def test_a_kind_that_is_not_probed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # By name: the package's attribute `probe` is the function.
    monkeypatch.setattr(sys.modules["segue.models.conversion.probe"], "identify", lambda *names: "novelty")
    found = probe(tiny(authors_like()))
    assert not found.fits
    assert "converted, but not probed" in found.stopped


def tiny(shapes: dict[str, Shape], config: dict[str, Any] | None = None) -> Headers:
    made = Checkpoint(Path("x"), llama_config(TINY_LLAMA) if config is None else config, shapes)
    made.dtypes = dict.fromkeys(shapes, torch.float32)
    return Headers(made)


def test_what_is_left_over_missing_or_of_a_wrong_size_is_told() -> None:
    shapes = authors_like()
    del shapes["model.norm.weight"]
    shapes |= {"model.novelty.0.weight": (3, 5), "model.novelty.1.weight": (3, 5)}
    shapes["model.layers.0.input_layernorm.weight"] = (31,)
    found = probe(tiny(shapes))
    assert (found.kind, found.fits) == ("prima", False)
    assert found.missing == {"language_model.model.norm.weight": (32,)}
    lines = "\n".join(told(found))
    assert "x: prima; it would not be converted" in lines
    assert "  model.novelty.{0-1}.weight [3, 5] F32 left over" in lines
    assert "  missing: language_model.model.norm.weight [32]" in lines
    assert (
        "input_layernorm.weight [31] F32 -> language_model.model.layers.{}.input_layernorm.weight wrong size"
        in lines
    )
    counts = found.summary()
    assert f"{len(shapes)} tensors" in counts
    assert {"2 left over", "1 of a wrong size", "1 parameters are missing"} <= set(counts)
    assert any("no DINOv2" in line for line in counts)


def test_shards_that_are_not_here_are_named(tmp_path: Path) -> None:
    folder = headers_only(tmp_path / "r", authors_like(), llama_config(TINY_LLAMA))
    (folder / "model-00002-of-00002.safetensors").unlink()
    found = probe(open_headers(folder))
    assert not found.fits
    assert set(found.absent.values()) == {"model-00002-of-00002.safetensors"}
    assert len(found.absent) + len(found.fates) == len(authors_like())
    content = report(found)
    assert {entry["shard"] for entry in content["absent"]} == {"model-00002-of-00002.safetensors"}


def test_an_unknown_kind_and_sizes_that_cannot_be_are_reasons_in_the_report() -> None:
    found = probe(tiny({"transformer.h.0.attn.weight": (3, 3)}))
    assert (found.kind, found.fits) == (None, False)
    assert "of no kind" in found.stopped
    assert len(found.fates) == 1
    # The language model's heads are zero: some constructor divides by them.
    broken = probe(tiny(authors_like(), llama_config(TINY_LLAMA) | {"num_attention_heads": 0}))
    assert broken.kind == "prima"
    assert "no model of these sizes can be built" in broken.stopped
    assert "does not describe its language model" in probe(tiny(authors_like(), {})).stopped
    with pytest.raises(ModelError, match="a number that no model has"):
        probe(tiny(authors_like(), llama_config(TINY_LLAMA) | {"num_hidden_layers": MAX_LAYERS + 1}))


def test_layers_are_written_once_and_nothing_is_lost() -> None:
    shapes = {f"a.{n}.b.7.weight": (2,) for n in (0, 1, 2, 5)} | {"a.x.weight": (2,), "a.{}.b": (2,)}
    written = condensed(probe(tiny(shapes)).fates)
    assert [(e["name"], e.get("numbers")) for e in written] == [
        ("a.{}.b.7.weight", "0-2,5"), ("a.x.weight", None), ("a.{}.b", None)
    ]  # fmt: skip


def test_a_report_holds_no_paths(tmp_path: Path) -> None:
    config = llama_config(TINY_LLAMA) | {
        "_name_or_path": "/" + "somebody/secret", "mm_vision_tower": "/data/clip",
        "nested": {"at": ["~/x", "C:\\y"]}, "hub": "openai/clip-vit-large-patch14",
    }  # fmt: skip
    text = write_report(probe(tiny(authors_like(), config)), tmp_path / "r.json").read_text()
    assert not any(word in text for word in ("somebody", "/data", "~/x", "C:"))
    assert "openai/clip-vit-large-patch14" in text
    assert text.isascii()


ONE = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
HOSTILE = {
    "empty": b"",
    "length beyond the limit": struct.pack("<Q", 2**63) + b"{}",
    "length beyond the file": struct.pack("<Q", 400) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "no object": struct.pack("<Q", 4) + b"[1] ",
    "broken UTF-8": struct.pack("<Q", 4) + b'{"\xff"',
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "twice": struct.pack("<Q", 0)[:0] + (lambda t: struct.pack("<Q", len(t)) + t)(
        b'{"a":' + json.dumps(ONE).encode() + b',"a":' + json.dumps(ONE).encode() + b"}"),
    "no entry": header({"a": 3}),
    "no shape": header({"a": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "negative": header({"a": ONE | {"shape": [-2, 3]}}),
    "truth": header({"a": ONE | {"shape": [True, 6]}}),
    "fraction": header({"a": ONE | {"shape": [2.0, 3]}}),
    "huge": header({"a": ONE | {"shape": [2**62, 2**62]}}),
    "many dimensions": header({"a": ONE | {"shape": [1] * 4000}}),
    "a type of nobody": header({"a": ONE | {"dtype": "F7"}}),
    "a type that is a list": header({"a": ONE | {"dtype": ["F32"]}}),
    "offsets of another size": header({"a": ONE | {"data_offsets": [0, 23]}}),
    "offsets backwards": header({"a": ONE | {"data_offsets": [24, 0]}}),
    "a terminal's code": header({"a\x1b[31m": ONE}),
    "a long name": header({"a" * 5000: ONE}),
    "no name": header({"": ONE}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_a_clear_error(case: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(HOSTILE[case])
    with pytest.raises(ModelError) as caught:
        open_headers(tmp_path)
    assert (caught.value.summary, caught.value.where) == ("The header cannot be read.", "model.safetensors")
    assert caught.value.found
    assert str(caught.value).isprintable() or "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "index",
    [{}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": "../../etc/passwd"}},
     {"weight_map": {"a": 3}}, {"weight_map": {"a": "/etc/hosts.safetensors"}},
     {"weight_map": {"a": "x.bin"}}, {"weight_map": {"a\n": "x.safetensors"}},
     {"weight_map": {"b": "here.safetensors"}}],
)  # fmt: skip
def test_a_hostile_index_is_a_clear_error(index: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "here.safetensors").write_bytes(header({"a": ONE}))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="The header cannot be read"):
        open_headers(tmp_path)


@pytest.mark.parametrize(
    "content",
    [{"format": "other"}, {"format": "segue-probe/1", "tensors": {}},
     {"format": "segue-probe/1", "tensors": [3]},
     {"format": "segue-probe/1", "tensors": [{"name": "a.{}.b", "numbers": "0-99999999999", **ONE}]},
     {"format": "segue-probe/1", "tensors": [{"name": "a.{}.b", "numbers": "x", **ONE}]},
     {"format": "segue-probe/1", "tensors": [{"name": "a", "shape": "?", "dtype": "F32"}]}],
)  # fmt: skip
def test_a_hostile_report_is_a_clear_error(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="The header cannot be read"):
        open_headers(tmp_path / "r.json")


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = headers_only(tmp_path / "their-model", authors_like(), llama_config(TINY_LLAMA))
    file = tmp_path / "report.json"
    assert main(["convert", "--probe", str(folder), "--to", str(file)]) == 0
    printed = capsys.readouterr()
    assert "their-model: prima; it would be converted" in printed.out
    assert "-> reader.relational.attention.k_proj_weight" in printed.out
    assert "reads EVA-CLIP alone" in printed.err
    assert json.loads(file.read_text())["source"] == "their-model"
    assert main(["convert", "--probe", str(file), "--to", str(tmp_path / "again.json")]) == 0
    capsys.readouterr()
    assert main(["convert", str(folder)]) == 2
    assert "--to FOLDER, or --probe" in capsys.readouterr().err
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"\xff" * 9)
    assert main(["convert", "--probe", str(folder)]) == 2
    assert "The header cannot be read." in capsys.readouterr().err
