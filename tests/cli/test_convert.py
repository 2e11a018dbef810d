"""`segue convert` and `segue init` through their front door, and `segue ask` with what they write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

from official import LLAMA_7B, TINY_SAM, clip_shapes, llama_config, official_shapes, write_tokenizer
from segue.cli import main
from segue.inference.answer_file import AnswerFile
from tiny_model import ANSWER, QUESTIONS, TEXT, picture

LLAMA = LLAMA_7B | {
    "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 768, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
CLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14}  # fmt: skip
BASE = 420
ADDED = {
    "glamm": ["<im_start>", "<im_end>", "<bbox>", "<point>", "[SEG]", "<p>", "</p>"],
    "lisa": ["[SEG]", "<im_start>", "<im_end>"],
}
ONE = {"glamm": "A <p> red mug </p> [SEG] is in it.", "lisa": "Sure, it is [SEG]."}
ONE_TEXT = {"glamm": "A red mug is in it.", "lisa": "Sure, it is this."}
TWO = {"glamm": ANSWER, "lisa": "Sure, it is [SEG] (IMAGE2)."}
TWO_TEXT = {"glamm": TEXT, "lisa": "Sure, it is this."}
WORDS = tuple(
    f"{TEXT} {' '.join(QUESTIONS)} Sure it is in overview pictures picture provides provide of".split()
)


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    return noise * min(0.5, noise[0].numel() ** -0.5) if len(shape) > 1 else 1 + 0.1 * noise


def write_repository(which: str, folder: Path) -> tuple[Path, Path]:
    """A tiny repository as published, and CLIP's; random weights."""
    generator = torch.Generator().manual_seed(3)
    model, clip = folder / "model", folder / "clip"
    model.mkdir(parents=True)
    clip.mkdir()
    llm = LLAMA | {"vocab_size": BASE + len(ADDED[which])}
    shapes = official_shapes(which, llm, TINY_SAM, CLIP["hidden_size"])
    tensors = {n: drawn(s, generator) for n, s in shapes.items()}
    save_file(tensors, model / "model.safetensors")
    (model / "config.json").write_text(json.dumps(llama_config(llm)))
    write_tokenizer(model, BASE, {t: BASE + k for k, t in enumerate(ADDED[which])}, WORDS)
    tower = {n: drawn(s, generator) for n, s in clip_shapes(CLIP) if "position_ids" not in n}
    save_file(tower, clip / "model.safetensors")
    (clip / "config.json").write_text(json.dumps({"vision_config": CLIPVisionConfig(**CLIP).to_dict()}))
    return model, clip


def teach(which: str, source: Path, converted: Path, steps: int = 140) -> None:
    """Teach the language model two answers by heart and write it back into the published repository."""
    import segue

    loaded = segue.load(converted, device="cpu")
    model, processor = loaded.model, loaded.processor
    images = [picture(shade=60), picture(shade=200)]
    batches = []
    for question in QUESTIONS[:2]:
        for shown, answer in ((images[:1], ONE[which]), (images, TWO[which])):
            turns = [("user", question), ("assistant", answer)]
            batches.append(dict(processor(images=shown, turns=turns, add_generation_prompt=False)))
    keep = ("input_ids", "attention_mask", "labels", "num_images", "pixel_values")
    optimizer = torch.optim.Adam(model.language_model.parameters(), lr=1e-2)
    for step in range(steps):
        batch: dict[str, Any] = {k: v for k, v in batches[step % len(batches)].items() if k in keep}
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tensors = {n: t.detach().contiguous() for n, t in model.language_model.state_dict().items()}
    from safetensors.torch import load_file

    save_file(load_file(source / "model.safetensors") | tensors, source / "model.safetensors.new")
    os.replace(source / "model.safetensors.new", source / "model.safetensors")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, Path]]:
    """Family -> published repository, CLIP, and the folder that `segue convert` made of them."""
    made = {}
    for which in ADDED:
        folder = tmp_path_factory.mktemp(which)
        model, clip = write_repository(which, folder)
        untaught = folder / "untaught"
        assert main(["convert", str(model), "--to", str(untaught), "--clip", str(clip)]) == 0
        teach(which, model, untaught)
        converted = folder / "converted"
        assert main(["convert", str(model), "--to", str(converted), "--clip", str(clip)]) == 0
        made[which] = (model, clip, converted)
    return made


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    picture(40, 60, 60).save(tmp_path / "a.png")
    picture(40, 60, 200).save(tmp_path / "b.png")
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def ask(model: Path, images: list[str], *more: str) -> int:
    return main(["ask", *images, "-q", QUESTIONS[0], "--model", str(model), "--device", "cpu", *more])


@pytest.mark.parametrize("which", ADDED)
def test_one_image_is_answered_as_published(
    which: str,
    repositories: dict[str, tuple[Path, Path, Path]],
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert ask(repositories[which][2], photos[:1], "--out", str(out), "--json") == 0
    content = json.loads(capsys.readouterr().out)
    AnswerFile.model_validate(content, strict=True)
    assert (content["text"], content["markup"]) == (ONE_TEXT[which], ONE[which])
    assert [g["segmentation"]["size"] for g in content["groundings"]] == [[40, 60]]
    assert content["problems"] == []
    assert (out / "image_1.png").stat().st_size > 0


@pytest.mark.parametrize("which", ADDED)
def test_several_images_are_told_apart_by_identifiers(
    which: str,
    repositories: dict[str, tuple[Path, Path, Path]],
    photos: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask(repositories[which][2], photos, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["text"], content["markup"]) == (TWO_TEXT[which], TWO[which])
    expected = {"glamm": [("red mug", 0), ("lamp", 1)], "lisa": [("this", 1)]}[which]
    assert [(g["phrase"], g["image_index"]) for g in content["groundings"]] == expected


@pytest.mark.parametrize("which", ADDED)
def test_a_second_turn_reads_the_first_as_the_model_wrote_it(
    which: str, repositories: dict[str, tuple[Path, Path, Path]], photos: list[str]
) -> None:
    import segue

    session = segue.load(repositories[which][2], device="cpu").session(photos[:1])
    session.ask(QUESTIONS[0], max_new_tokens=30)
    assert session._past_turns() == [("user", QUESTIONS[0]), ("assistant", ONE[which])]
    session.ask(QUESTIONS[1], max_new_tokens=4)
    assert len(session.history) == 2


@pytest.mark.parametrize("which", ADDED)
def test_prompts_are_those_of_the_published_code(
    which: str, repositories: dict[str, tuple[Path, Path, Path]]
) -> None:
    import segue

    processor = segue.load(repositories[which][2], device="cpu").processor
    system = "A chat between a curious human and an artificial intelligence assistant. The assistant gives " \
        "helpful, detailed, and polite answers to the human's questions."  # fmt: skip
    shown = "<im_start>" + "<image>" * 4 + "<im_end>"
    opening = {"glamm": f"The {shown} provides an overview of the picture.\n", "lisa": f"{shown}\n"}[which]
    turns = [("user", "Q?"), ("assistant", "It is [SEG]."), ("user", "R?")]
    text, _ = processor.render_chat(turns, 1, 4, True)
    assert text == f"{system} USER: {opening}Q? ASSISTANT: It is [SEG].</s>USER: R? ASSISTANT:"
    both, _ = processor.render_chat(turns[:1], 2, 4, True)
    assert both == (
        f"{system} USER: The {shown} (IMAGE1) and {shown} (IMAGE2) provide an overview of the pictures.\nQ? "
        "ASSISTANT:"
    )
    encoded = processor.encode_turns(turns, 1, add_generation_prompt=True)
    pieces = processor.tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    at = pieces.index("[SEG]")
    assert pieces[0] == "<s>"
    # Blanks around an added token vanish, and the text after it begins a word, as in the published code.
    assert pieces[at + 1 : at + 3] == ["\u2581", "."]
    assert pieces[at + 3] == "</s>"
    assert pieces[pieces.index("<im_end>") + 1].startswith("\u2581")
    assert pieces[pieces.index("<im_start>") - 1] != "\u2581"
    labelled = [p for p, label in zip(pieces, encoded["labels"], strict=True) if label >= 0]
    assert labelled[-4:] == ["[SEG]", "\u2581", ".", "</s>"]
    assert processor.decode_markup([i for i in encoded["labels"] if i >= 0]) == "It is [SEG]."


def test_what_was_done_is_told(
    repositories: dict[str, tuple[Path, Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, clip, _ = repositories["glamm"]
    to = tmp_path / "half"
    arguments = ["convert", str(model), "--to", str(to), "--clip", str(clip), "--dtype", "bfloat16"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out == f"glamm: {to}\n"
    assert "tensors taken over" in printed.err
    assert "computed from the configuration" in printed.err
    assert json.loads((to / "config.json").read_text())["dtype"] == "bfloat16"
    assert main(arguments) == 2
    assert "The output folder is not empty." in capsys.readouterr().err


@pytest.mark.parametrize("which", ["glamm", "lisa"])
def test_a_probe_says_what_the_conversion_does(
    which: str, repositories: dict[str, tuple[Path, Path, Path]], tmp_path: Path
) -> None:
    from safetensors import safe_open

    from segue.models.conversion import open_checkpoint, open_headers, probe

    model, clip, converted = repositories[which]
    beside = {"clip": open_checkpoint(clip)}
    found = probe(open_headers(model), beside)
    assert (found.kind, found.fits, found.elsewhere) == (which, True, {})
    with safe_open(converted / "model.safetensors", "pt") as written:
        names = set(written.keys())
    own = {target for fate in found.fates for target in fate.becomes}
    tower = {name for name in names if name.startswith("vision_model.")}
    assert own | tower == names
    # Without CLIP the published one's size is taken, which this tiny projection does not fit.
    alone = probe(open_headers(model))
    assert {fate.name.split(".")[1] for fate in alone.fates if fate.problem} == {"mm_projector"}
    assert [name.split()[0] for name in alone.elsewhere] == [
        "openai/clip-vit-large-patch14" + ("-336" if which == "glamm" else "")
    ]


def test_a_missing_tower_and_a_missing_tensor_are_named(
    repositories: dict[str, tuple[Path, Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, clip, _ = repositories["lisa"]
    assert main(["convert", str(model), "--to", str(tmp_path / "x")]) == 2
    assert "hf download openai/clip-vit-large-patch14" in capsys.readouterr().err
    from safetensors.torch import load_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(model / "model.safetensors")
    del tensors["model.mm_projector.bias"]
    tensors["model.extra.weight"] = torch.zeros(2, 3)
    save_file(tensors, broken / "model.safetensors")
    assert main(["convert", str(broken), "--to", str(tmp_path / "x"), "--clip", str(clip)]) == 2
    said = capsys.readouterr().err
    assert "left over  model.extra.weight [2, 3]" in said
    assert "missing    image_projection.0.bias [48]" in said
    assert "Traceback" not in said
    assert not (tmp_path / "x").exists()


def write_prima_parts(folder: Path, tokenizer: Any) -> tuple[Path, Path]:
    """Tiny InstructBLIP and DINOv2 repositories."""
    blip, dino = folder / "blip", folder / "dino"
    config = InstructBlipConfig(
        vision_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                       "num_attention_heads": 2, "image_size": 56, "patch_size": 14},
        qformer_config={"vocab_size": 700, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32,
                        "num_attention_heads": 2, "encoder_hidden_size": 16, "max_position_embeddings": 128},
        text_config={"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "vocab_size": 50,
                     "num_hidden_layers": 1, "num_attention_heads": 1},
        num_query_tokens=4,
    )  # fmt: skip
    InstructBlipForConditionalGeneration(config).save_pretrained(blip)
    tokenizer.save_pretrained(blip / "qformer_tokenizer")
    Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
        )
    ).save_pretrained(dino)
    return blip, dino


def test_prima_is_composed_and_answers(
    repositories: dict[str, tuple[Path, Path, Path]],
    photos: list[str],
    tmp_path: Path,
    tiny_tokenizer: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blip, dino = write_prima_parts(tmp_path, tiny_tokenizer)
    assert main(["convert", str(blip), "--to", str(tmp_path / "seeing")]) == 0
    glamm = repositories["glamm"][0]
    for number, source in enumerate((blip, tmp_path / "seeing")):
        out = tmp_path / f"prima{number}"
        arguments = ["--glamm", str(glamm), "--instructblip", str(source), "--dinov2", str(dino)]
        assert main(["init", "prima-7b", *arguments, "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "InstructBLIP's own language model" in said
    assert "fresh: fusion, image_projection" in said
    first, second = ((tmp_path / f"prima{n}" / "model.safetensors").read_bytes() for n in range(2))
    assert first == second, "the language model of InstructBLIP does not matter, and the seed decides"
    assert ask(tmp_path / "prima0", photos, "--max-new-tokens", "5") == 0
    import segue

    model = segue.load(tmp_path / "prima0", device="cpu").model
    assert not bool(model.fusion.attention.out_proj.weight.any()), "fusion starts as the identity"
    assert 0.01 < float(model.image_projection.weight.detach().std()) < 0.03
    assert main(["init", "lisa-7b", *arguments, "--out", str(tmp_path / "no")]) == 2
    assert "prima-7b or prima-square-7b" in capsys.readouterr().err
