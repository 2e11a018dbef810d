"""Every layout of the authors' parts that can be told is placed; what it computes is torch's own module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from authors_layouts import TINY_LLAMA, authors_like, labelled
from official import clip_shapes, llama_config
from segue.models.conversion import Checkpoint, ConversionError, plan
from segue.models.conversion.authors import prima_config, prima_target
from segue.models.conversion.prima_names import find_parts, find_towers
from segue.models.conversion.streaming import converted
from segue.models.visual_tokens import RelationalQueries

Shape = tuple[int, ...]
WIDTH, SEEN = 64, 176


def layout(remove: tuple[str, ...], add: dict[str, Shape]) -> dict[str, Shape]:
    """The authors-like layout with some names taken away and others in their place."""
    shapes = {n: s for n, s in authors_like().items() if not any(word in n for word in remove)}
    return shapes | add


def linear(name: str, out: int, inside: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, inside), f"{name}.bias": (out,)}


def dinov2_hub(prefix: str, width: int = 64) -> dict[str, Shape]:
    """A block of DINOv2 with registers as torch hub has it."""
    return labelled(prefix, {
        "cls_token": (1, 1, width), "pos_embed": (1, 17, width), "register_tokens": (1, 4, width),
        "mask_token": (1, width), "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        **linear("blocks.0.attn.qkv", 3 * width, width), **linear("blocks.0.attn.proj", width, width),
        "blocks.0.ls1.gamma": (width,), "blocks.0.ls2.gamma": (width,), "norm.weight": (width,),
        "norm.bias": (width,), **linear("blocks.0.mlp.fc1", 4 * width, width),
        **linear("blocks.0.mlp.fc2", width, 4 * width),
        **{f"blocks.0.norm{k}.{leaf}": (width,) for k in (1, 2) for leaf in ("weight", "bias")},
    })  # fmt: skip


BERT_LIKE = {
    **linear("model.cross_image_attention.attention.self.query", WIDTH, WIDTH),
    **linear("model.cross_image_attention.attention.self.key", WIDTH, SEEN),
    **linear("model.cross_image_attention.attention.self.value", WIDTH, SEEN),
    **linear("model.cross_image_attention.attention.output.dense", WIDTH, WIDTH),
    "model.cross_image_attention.attention.output.LayerNorm.weight": (WIDTH,),
    "model.cross_image_attention.attention.output.LayerNorm.bias": (WIDTH,),
    "model.cross_image_queries.weight": (8, WIDTH),
}
LAYOUTS: dict[str, tuple[tuple[str, ...], dict[str, Shape]]] = {
    "square attention behind a linear layer": (
        ("square.attn",),
        {"model.square.attn.in_proj_weight": (192, WIDTH), "model.square.attn.in_proj_bias": (192,),
         **linear("model.square.attn.out_proj", WIDTH, WIDTH), **linear("model.square.kv_proj", WIDTH, SEEN)},
    ),
    "BERT's names with a norm, and embeddings as queries": (("model.square", ".query_tokens"), BERT_LIKE | {
        "model.query_tokens.weight": (8, WIDTH)}),
    "biases of plain projections, no word of SQuARE's": (
        ("model.square",),
        {**linear("model.mixer.q_proj", WIDTH, WIDTH), **linear("model.mixer.k_proj", WIDTH, SEEN),
         **linear("model.mixer.v_proj", WIDTH, SEEN), **linear("model.mixer.out_proj", WIDTH, WIDTH),
         "model.mixer_queries": (1, 8, WIDTH)},
    ),
    "no bias anywhere": (
        ("model.square", "mm_projector"),
        {"model.rel_attn.to_q.weight": (WIDTH, WIDTH), "model.rel_attn.to_k.weight": (WIDTH, SEEN),
         "model.rel_attn.to_v.weight": (WIDTH, SEEN), "model.rel_attn.to_out.0.weight": (WIDTH, WIDTH),
         "model.rel_queries": (8, WIDTH), "model.llama_proj.weight": (32, WIDTH)},
    ),
    "two layers of projection": (
        ("mm_projector",),
        {**linear("model.llama_proj.0", 32, WIDTH), **linear("model.llama_proj.2", 32, 32)},
    ),
    "two layers of projection, another width between": (
        ("mm_projector",), {**linear("model.proj.fc1", 48, WIDTH), **linear("model.proj.fc2", 32, 48)},
    ),
    "GLaMM's own tower left inside": (
        ("mm_projector",),
        {**linear("model.llama_proj", 32, WIDTH), **linear("model.mm_projector.0", 32, 24),
         **linear("model.mm_projector.2", 32, 32),
         **labelled("model.vision_tower.vision_tower.", dict(clip_shapes(
             {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "patch_size": 14,
              "image_size": 28})))},
    ),
}  # fmt: skip


def part(shapes: dict[str, Shape]) -> Checkpoint:
    return Checkpoint(Path("nowhere"), llama_config(TINY_LLAMA), shapes, dict.fromkeys(shapes, torch.float32))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_placed_whole(name: str) -> None:
    shapes = layout(*LAYOUTS[name])
    target = prima_target(part(shapes), None)
    done = plan(shapes, target.shapes, target.rules, fresh=target.fresh)
    assert target.config.visual_module == "square"
    assert target.config.num_query_tokens == 8
    assert all(t.endswith("bias") for t in done.fresh), "only absent biases, which are zero"
    assert bool(done.fresh) == ("no bias" in name)
    assert ("GLaMM's way" in " ".join(done.dropped)) == ("GLaMM's own" in name)
    # Without any of the parts the same layout is refused by name.
    shapes["model.novelty.weight"] = (3, 5)
    with pytest.raises(ConversionError, match=r"left over  model\.novelty\.weight \[3, 5\]"):
        plan(shapes, target.shapes, target.rules, fresh=target.fresh)


def test_facts_that_shapes_tell_reach_the_configuration() -> None:
    bridged = prima_config(part(layout(*LAYOUTS["square attention behind a linear layer"])), None)
    assert bridged.relational_key_width == WIDTH
    bert = prima_config(part(layout(*LAYOUTS["BERT's names with a norm, and embeddings as queries"])), None)
    assert (bert.relational_norm, bert.relational_key_width) == (True, None)
    two = prima_config(part(layout(*LAYOUTS["two layers of projection, another width between"])), None)
    assert (two.projector_layers, two.projector_hidden_size) == (2, 48)
    assert (
        prima_target(part(layout(*LAYOUTS["two layers of projection"])), None)
        .notes[0]
        .startswith("between the two layers")
    )


class MemoryCheckpoint(Checkpoint):
    """A checkpoint whose tensors are in memory."""

    def tensors(self):  # type: ignore[no-untyped-def]
        yield from self.content.items()  # type: ignore[attr-defined]


def relational_of(name: str) -> tuple[RelationalQueries, dict[str, Tensor]]:
    """SQuARE as it is converted from a layout of random numbers, and those numbers."""
    shapes = layout(*LAYOUTS[name])
    generator = torch.Generator().manual_seed(3)
    content = {n: torch.randn(s, generator=generator) for n, s in shapes.items()}
    source = MemoryCheckpoint(Path("nowhere"), llama_config(TINY_LLAMA), shapes)
    source.content = content  # type: ignore[attr-defined]
    target = prima_target(source, None)
    done = plan(shapes, target.shapes, target.rules, fresh=target.fresh)
    place = "reader.relational."
    state = {
        t[len(place) :]: tensor
        for t, tensor in converted({"": source}, done, target.shapes)
        if t.startswith(place)
    }
    module = RelationalQueries(target.config)
    module.load_state_dict(state)
    return module, content


def attend(
    content: dict[str, Tensor], parts: Callable[[str], str], features: Tensor, queries: Tensor
) -> Tensor:
    """torch's own attention with weights under other names, one head."""
    q = nn.functional.linear(queries, content[parts("q") + ".weight"], content[parts("q") + ".bias"])
    k = nn.functional.linear(features, content[parts("k") + ".weight"], content[parts("k") + ".bias"])
    v = nn.functional.linear(features, content[parts("v") + ".weight"], content[parts("v") + ".bias"])
    found = nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    out = parts("out")
    return nn.functional.linear(found, content[out + ".weight"], content[out + ".bias"])


def test_bert_s_attention_computes_the_same() -> None:
    module, content = relational_of("BERT's names with a norm, and embeddings as queries")
    features = torch.randn(2, 5, SEEN)
    names = {"q": "self.query", "k": "self.key", "v": "self.value", "out": "output.dense"}
    stem = "model.cross_image_attention.attention."
    queries = content["model.cross_image_queries.weight"]
    found = attend(content, lambda part: stem + names[part], features.flatten(0, 1), queries)
    norm = stem + "output.LayerNorm."
    wanted = nn.functional.layer_norm(
        queries + found, (WIDTH,), content[norm + "weight"], content[norm + "bias"], eps=1e-12
    )
    torch.testing.assert_close(module(features, [2])[0], wanted, rtol=1e-4, atol=1e-3)


def test_an_attention_behind_a_linear_layer_computes_the_same() -> None:
    module, content = relational_of("square attention behind a linear layer")
    features = torch.randn(2, 5, SEEN)
    theirs = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
    stem = "model.square.attn."
    theirs.load_state_dict({n[len(stem) :]: t for n, t in content.items() if n.startswith(stem)})
    bridge = "model.square.kv_proj."
    keys = nn.functional.linear(features.flatten(0, 1), content[bridge + "weight"], content[bridge + "bias"])
    wanted = theirs(content["model.square.relational_queries"], keys[None], keys[None])[0]
    torch.testing.assert_close(module(features, [2])[:1], wanted, rtol=1e-4, atol=1e-3)


def test_dinov2_beside_eva_is_told_by_its_width_and_placed() -> None:
    shapes = authors_like() | dinov2_hub("model.dino.")
    # The shorter prefix is DINOv2's; EVA's real width decides before anything else.
    assert find_towers(shapes) == (("model.visual_encoder.", False), ("model.dino.", False))
    bare = {"cls_token": (1, 1, 1), "blocks.0.attn.qkv.weight": (3, 1)}
    wide = {"cls_token": (1, 1, 1408), "blocks.0.attn.qkv.weight": (4224, 1408)}
    assert find_towers(labelled("a.", bare) | labelled("long.name.", wide))[0] == ("long.name.", False)
    target = prima_target(part(shapes), None)
    assert target.config.aux_vision_config.num_register_tokens == 4
    done = plan(shapes, target.shapes, target.rules, fresh=target.fresh)
    assert {t.split(".")[0] for t in done.fresh} == {"fusion"}
    fused = next(m for m in done.moves if m.source == "model.dino.blocks.0.attn.qkv.weight")
    assert fused.split
    assert [t.rsplit(".", 2)[1] for t in fused.targets] == ["q_proj", "k_proj", "v_proj"]


def test_a_fused_matrix_is_cut_in_three_and_an_embedding_gets_its_dimension() -> None:
    source = MemoryCheckpoint(Path("x"), {}, {"qkv.weight": (6, 2), "queries.weight": (2, 3)})
    source.content = {  # type: ignore[attr-defined]
        "qkv.weight": torch.arange(12.0).reshape(6, 2), "queries.weight": torch.arange(6.0).reshape(2, 3)
    }  # fmt: skip
    from segue.models.conversion.rules import Rule

    target = {"q": (2, 2), "k": (2, 2), "v": (2, 2), "queries": (1, 2, 3)}
    rules = [
        Rule("qkv.weight", ("q", "k", "v"), split=True),
        Rule("queries.weight", ("queries",), unsqueeze=True),
    ]
    done = plan(source.shapes, target, rules)
    made = dict(converted({"": source}, done, target))
    assert made["k"].tolist() == [[4, 5], [6, 7]]
    assert made["queries"].shape == (1, 2, 3)
    with pytest.raises(ConversionError, match=r"wrong size qkv.weight \[7, 2\] for k \[6, 2\]"):
        plan({"qkv.weight": (7, 2), "queries.weight": (2, 3)}, target, rules)


def test_two_attentions_without_a_word_are_not_guessed() -> None:
    extra = {}
    for stem in ("model.one", "model.two"):
        extra |= linear(f"{stem}.q_proj", WIDTH, WIDTH) | linear(f"{stem}.k_proj", WIDTH, SEEN)
        extra |= linear(f"{stem}.v_proj", WIDTH, SEEN) | linear(f"{stem}.out_proj", WIDTH, WIDTH)
    shapes = layout(("model.square",), extra)
    found = find_parts(shapes, 32, WIDTH)
    assert not any(rule.apply("model.one.q_proj.weight") for rule in found.rules)
    target = prima_target(part(shapes), None)
    with pytest.raises(ConversionError, match=r"left over  model\.one\.k_proj\.weight"):
        plan(shapes, target.shapes, target.rules, fresh=target.fresh)
