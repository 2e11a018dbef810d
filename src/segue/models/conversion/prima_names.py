"""Parts of the authors' PRIMA found by name, and by shape where names are not known.

Names decide first, module by module; what they leave is grouped into attentions, queries and projections by
the words of its last components and by its shapes. What fits nothing stays over: nothing is guessed from a
shape alone that two parts could have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.models.conversion.plan import Shape
from segue.models.conversion.rules import Rule, drops, renames, under
from segue.models.conversion.templates import (
    DINOV2,
    DINOV2_ORIGINAL,
    EVA_HF,
    EVA_ORIGINAL,
    LLAMA,
    QFORMER_BERT,
    QFORMER_HF,
    QFORMER_ORIGINAL,
    SAM_ORIGINAL,
    SEG_PROJECTION,
)

EVA_WIDTH = 1408
"""Width of EVA-CLIP-g, which tells it from DINOv2-L (1024) under the same names."""

RELATIONAL_WORDS = ("relation", "square", "rel_", "cross_image", "inter_image", "multi_image", "across_image")
"""Words in names of SQuARE's parts. Source: the newer version's figure (relational); the others are guesses,
and a module without any of them is still found by what it is made of."""

RELATIONAL = "reader.relational."
_LEFTOVER = "GLaMM's way from pictures to tokens, which PRIMA replaces"


@dataclass
class Parts:
    """What a checkpoint of PRIMA is made of.

    Attributes:
        rules: the place of every tensor that was recognised.
        projector_layers, projector_hidden_size, relational_key_width, relational_norm: see `PrimaConfig`.
        relational: whether there is SQuARE.
        queries: number of learnable queries, where they were found.
        eva, dinov2: prefixes and rules of the towers.
        fresh: parameters that the checkpoint leaves out because they are zero there: absent biases.
        notes: what shapes cannot tell and was assumed.
    """

    rules: tuple[Rule, ...] = ()
    projector_layers: int = 1
    projector_hidden_size: int | None = None
    relational: bool = False
    relational_key_width: int | None = None
    relational_norm: bool = False
    queries: int | None = None
    eva: tuple[str, bool] | None = None
    dinov2: tuple[str, bool] | None = None
    fresh: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def find_prefix(names: Mapping[str, Any], ending: str, beside: str = "") -> str | None:
    """The prefix before `ending` in the one name that ends so (and has `beside` next to it)."""
    found = prefixes(names, ending, beside)
    # The shortest: "" wins over a copy of the same module deeper inside another part.
    return found[0] if found else None


def prefixes(names: Mapping[str, Any], ending: str, beside: str = "") -> list[str]:
    """All prefixes of names with that ending (and with `beside` next to it), the shortest first."""
    found = [name.removesuffix(ending) for name in names if name.endswith(ending)]
    return sorted((p for p in found if not beside or p + beside in names), key=lambda p: (len(p), p))


def find_towers(shapes: Mapping[str, Shape]) -> tuple[tuple[str, bool] | None, tuple[str, bool] | None]:
    """Prefixes of EVA-CLIP and of DINOv2, and whether their names are those of transformers.

    Both have `cls_token` and `blocks` in their authors' names. EVA is the one of its width; without such a
    one it is the first that has none of DINOv2's own tensors.
    """
    blocks = prefixes(shapes, "cls_token", beside="blocks.0.attn.qkv.weight")
    own = ("blocks.0.ls1.gamma", "register_tokens", "mask_token")
    plain = [p for p in blocks if not any(p + name in shapes for name in own)]
    wide = [p for p in blocks if shapes[p + "cls_token"][-1] == EVA_WIDTH]
    chosen = next(iter([*wide, *plain]), None)
    eva: tuple[str, bool] | None = (chosen, False) if chosen is not None else None
    if eva is None:
        hf = find_prefix(shapes, "embeddings.class_embedding", beside="encoder.layers.0.self_attn.qkv.weight")
        eva = (hf, True) if hf is not None else None
    others = [p for p in blocks if p != chosen and p not in plain] or [p for p in blocks if p != chosen]
    dino_hf = find_prefix(
        shapes, "embeddings.cls_token", beside="embeddings.patch_embeddings.projection.weight"
    )
    if others:
        return eva, (others[0], False)
    return eva, (dino_hf, True) if dino_hf is not None else None


def find_parts(shapes: Mapping[str, Shape], hidden: int, width: int) -> Parts:
    """Recognise the parts of a checkpoint.

    Args:
        shapes: of the checkpoint.
        hidden: width of the language model.
        width: width of the Q-Former.
    """
    parts = Parts()
    parts.eva, parts.dinov2 = find_towers(shapes)
    parts.rules = (*_named(shapes, parts),)
    # Patterns first, shapes last: at 768 a Q-Former's own matrices look like any other matrix of that width.
    rest = {n: s for n, s in shapes.items() if not any(rule.apply(n) is not None for rule in parts.rules)}
    for step in (_relational, _queries, _projection):
        step(rest, parts, shapes, hidden, width)
        rest = {n: s for n, s in rest.items() if not any(rule.apply(n) is not None for rule in parts.rules)}
    # Last: PRIMA's own projection may be called `mm_projector` too, and its shape has told it by now.
    glamm = find_prefix(shapes, "mm_projector.0.weight") or find_prefix(shapes, "mm_projector.weight")
    if glamm is not None:
        parts.rules += drops(_LEFTOVER, glamm + "mm_projector.{rest}")
    return parts


def _named(shapes: Mapping[str, Shape], parts: Parts) -> Iterator[Rule]:
    """Rules for the modules whose names are public."""
    sam = find_prefix(shapes, "image_encoder.pos_embed")
    if sam is not None:
        yield from under(sam, "sam.", SAM_ORIGINAL)
    if parts.eva is not None:
        prefix, from_transformers = parts.eva
        yield from under(prefix, "vision_model.", EVA_HF if from_transformers else EVA_ORIGINAL)
    # LAVIS keeps this norm beside the tower, other copies of EVA inside; transformers as `post_layernorm`.
    norm = find_prefix(shapes, "ln_vision.weight")
    if norm is not None:
        yield from renames((norm + "ln_vision.{leaf}", "vision_model.post_layernorm.{leaf}"))
    elif parts.eva is not None and not parts.eva[1]:
        yield from renames((parts.eva[0] + "norm.{leaf}", "vision_model.post_layernorm.{leaf}"))
    # At the very top its rules would take every name.
    if parts.dinov2 is not None and parts.dinov2[0]:
        prefix, from_transformers = parts.dinov2
        yield from under(prefix, "aux_vision_model.", DINOV2 if from_transformers else DINOV2_ORIGINAL)
    found = find_qformer(shapes)
    if found is not None:
        yield from under(found[0], "reader.qformer.", found[1])
    seg = find_prefix(shapes, "text_hidden_fcs.0.0.weight")
    if seg is not None:
        yield from under(seg, "seg_projection.", SEG_PROJECTION)
    language = find_prefix(shapes, "model.embed_tokens.weight")
    if language is not None:
        yield from under(language, "language_model.", LLAMA)
    yield from drops("reads boxes drawn by the user; captions of regions only", "model.region_encoder.{rest}")
    # A typing error of OpenAI's that only CLIP's towers have.
    clip = find_prefix(shapes, "pre_layrnorm.weight")
    if clip is not None:
        yield from drops(_LEFTOVER, clip + "{rest}")


def find_qformer(shapes: Mapping[str, Shape]) -> tuple[str, tuple[Rule, ...]] | None:
    """Prefix and rules of the Q-Former: LAVIS's names, the same without `bert.`, or those of transformers."""
    table = "embeddings.position_embeddings.weight"
    layer = "encoder.layer.0.attention."
    wrapped = find_prefix(shapes, "bert." + table)
    if wrapped is not None:
        return wrapped, QFORMER_ORIGINAL
    for query, rules in (("attention.query.weight", QFORMER_HF), ("self.query.weight", QFORMER_BERT)):
        prefix = find_prefix(shapes, table, beside=layer + query)
        if prefix is not None:
            return prefix, rules
    return None


_ROLES = {
    "q": ("q_proj", "query", "to_q", "q_linear", "w_q", "wq"),
    "k": ("k_proj", "key", "to_k", "k_linear", "w_k", "wk"),
    "v": ("v_proj", "value", "to_v", "v_linear", "w_v", "wv"),
    "out": ("out_proj", "o_proj", "output.dense", "to_out.0", "to_out", "proj", "dense", "w_o", "wo"),
    "in": ("in_proj",),
    "norm": ("output.LayerNorm", "LayerNorm", "layer_norm", "layernorm", "norm"),
}
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_WORDS = "|".join(re.escape(w) for w in sorted(_ROLE_OF, key=len, reverse=True))
# `x.attention.self.query.weight` -> stem `x.attention.`, role `query`, leaf `weight`; torch's own parameters
# are `q_proj_weight` and `in_proj_bias`, with an underscore.
_TENSOR = re.compile(rf"(?P<stem>(?:.*?\.)?)(?:self\.)?(?P<word>{_WORDS})[._](?P<leaf>weight|bias)")


def _attentions(rest: Mapping[str, Shape]) -> dict[str, dict[str, str]]:
    """Modules that are attentions: stem -> role such as `q.weight` -> name."""
    groups: dict[str, dict[str, str]] = {}
    for name in rest:
        if match := _TENSOR.fullmatch(name):
            role = f"{_ROLE_OF[match['word']]}.{match['leaf']}"
            groups.setdefault(match["stem"], {})[role] = name
    whole = ({"in.weight", "out.weight"}, {"q.weight", "k.weight", "v.weight", "out.weight"})
    return {stem: g for stem, g in groups.items() if any(w <= g.keys() for w in whole)}


def is_relational(name: str) -> bool:
    """Whether a name has a word of SQuARE's."""
    return any(word in name.lower() for word in RELATIONAL_WORDS)


def _relational(
    rest: Mapping[str, Shape], parts: Parts, shapes: Mapping[str, Shape], hidden: int, width: int
) -> None:
    """SQuARE's attention: the one that a word names, else the only one that no other part explains."""
    parts.relational = any(is_relational(name) for name in shapes)
    seen = _tower_width(shapes, parts)
    fitting = {
        stem: g
        for stem, g in _attentions(rest).items()
        if rest[g.get("in.weight", g.get("q.weight", ""))] in ((3 * width, width), (width, width))
    }
    named = [stem for stem in fitting if is_relational(stem)]
    stems = named or list(fitting)
    if len(stems) != 1:
        return
    group = fitting[stems[0]]
    read = width if "in.weight" in group else rest[group["k.weight"]][-1]
    rules: list[Rule] = []
    if read != seen:
        # Features are brought to the attention's width by one linear layer, or this is another module.
        bridge = next((n for n, s in rest.items() if s == (read, seen) and n.endswith(".weight")), None)
        if bridge is None:
            return
        _linear(bridge, RELATIONAL + "key_projection", rest, parts)
        parts.relational_key_width = read
    parts.relational = True
    target = RELATIONAL + "attention."
    # torch keeps one `in_proj_weight` where keys are as wide as queries, else three weights.
    for third, role in enumerate("qkv"):
        if "in.weight" in group:
            break
        name = group[f"{role}.weight"]
        together = read == width
        places = (target + ("in_proj_weight" if together else f"{role}_proj_weight"),)
        rules.append(Rule(name, places, part=third if together else None))
    rules += [Rule(group["in.weight"], (target + "in_proj_weight",))] if "in.weight" in group else []
    biases = [
        Rule(group[f"{role}.bias"], (target + "in_proj_bias",), part=third)
        for third, role in enumerate("qkv")
        if f"{role}.bias" in group
    ]
    if "in.bias" in group:
        biases = [Rule(group["in.bias"], (target + "in_proj_bias",))]
    # An attention without biases is one whose biases are zero, as they start in ours.
    parts.fresh += () if biases else (target + "in_proj_bias",)
    parts.fresh += () if "out.bias" in group else (target + "out_proj.bias",)
    rules += biases
    rules += [Rule(group[f"out.{leaf}"], (f"{target}out_proj.{leaf}",)) for leaf in _leaves(group, "out")]
    if "norm.weight" in group:
        parts.relational_norm = True
        rules += [
            Rule(group[f"norm.{leaf}"], (f"{RELATIONAL}norm.{leaf}",)) for leaf in _leaves(group, "norm")
        ]
        parts.notes.append("SQuARE's norm is taken as BERT's: of the sum of queries and what they found")
    parts.rules += tuple(rules)


def _leaves(group: Mapping[str, str], role: str) -> list[str]:
    return [leaf for leaf in ("weight", "bias") if f"{role}.{leaf}" in group]


def _tower_width(shapes: Mapping[str, Shape], parts: Parts) -> int:
    """Width of EVA-CLIP's features; that of the real one where there is no tower."""
    if parts.eva is None:
        return EVA_WIDTH
    prefix, from_transformers = parts.eva
    return shapes[prefix + ("embeddings.class_embedding" if from_transformers else "cls_token")][-1]


def _queries(
    rest: Mapping[str, Shape], parts: Parts, shapes: Mapping[str, Shape], hidden: int, width: int
) -> None:
    """Learnable queries, SQuARE's among them: parameters `(1, 32, 768)` or embeddings `(32, 768)`."""
    sets = [n for n, s in rest.items() if len(s) == 3 and s[0] == 1 and s[2] == width]
    # Two dimensions are those of any matrix: the name must say what it is.
    sets += [
        n
        for n, s in rest.items()
        if len(s) == 2 and s[1] == width and "quer" in n.lower() and not _TENSOR.fullmatch(n)
    ]
    plain = [n for n in sets if not is_relational(n)]
    named = [n for n in sets if is_relational(n)]
    if parts.relational and not named and len(plain) == 2:
        # Whichever is not the Q-Former's `query_tokens` is SQuARE's.
        named = [n for n in plain if "query_tokens" not in n]
    found = [(n, "reader.query_tokens") for n in plain if n not in named]
    found += [(n, RELATIONAL + "queries") for n in named]
    for name, place in found:
        parts.rules += (Rule(name, (place,), unsqueeze=len(rest[name]) == 2),)
        parts.queries = rest[name][-2]


def _projection(
    rest: Mapping[str, Shape], parts: Parts, shapes: Mapping[str, Shape], hidden: int, width: int
) -> None:
    """The way from the Q-Former to words: one linear layer, or two of one module."""
    weights = {n: s for n, s in rest.items() if len(s) == 2 and n.endswith(".weight")}
    for name, (out, inside) in weights.items():
        # `llama_proj.0.weight` and `llama_proj.2.weight`, `proj.fc1` and `proj.fc2`: names but for a number.
        second = [
            n for n, s in weights.items() if n != name and s == (hidden, out) and _family(n) == _family(name)
        ]
        if inside == width and len(second) == 1:
            for source, place in ((name, "0"), (second[0], "2")):
                _linear(source, f"image_projection.{place}", rest, parts)
            parts.projector_layers = 2
            parts.projector_hidden_size = None if out == hidden else out
            parts.notes.append("between the two layers of the projection a GELU is assumed, as in GLaMM")
            return
    # A linear layer's weight is (out, in): (4096, 768).
    single = next((n for n, s in weights.items() if s == (hidden, width)), None)
    if single is not None:
        _linear(single, "image_projection", rest, parts)


def _family(name: str) -> str:
    """A weight's name without the number of its layer."""
    return re.sub(r"\d+$", "", name.removesuffix(".weight"))


def _linear(weight: str, place: str, rest: Mapping[str, Shape], parts: Parts) -> None:
    """Place a linear layer; without a bias it has one of zeros."""
    bias = weight.removesuffix("weight") + "bias"
    parts.rules += (Rule(weight, (f"{place}.weight",)),)
    if bias in rest:
        parts.rules += (Rule(bias, (f"{place}.bias",)),)
    else:
        parts.fresh += (f"{place}.bias",)
