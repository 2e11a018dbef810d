"""Tensors that hold several of ours, taken apart: attention's joined projections."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from segue.models.conversion.plan import Shape

THIRDS = ("q_proj", "k_proj", "v_proj")


def attention_thirds(name: str) -> tuple[str, ...]:
    """Names of the parts of torch's joined `in_proj_weight` or `in_proj_bias` of self-attention; none
    elsewhere.

    `layers.0.self_attn.attn.in_proj_weight` holds `layers.0.self_attn.attn.q_proj.weight` and two more, of
    equal numbers of rows.
    """
    stem, _, leaf = name.rpartition("in_proj_")
    return tuple(f"{stem}{part}.{leaf}" for part in THIRDS) if ".self_attn." in stem else ()


def thirds_shapes(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """A tensor's parts by name and shape; the tensor itself where it is not joined."""
    parts = attention_thirds(name)
    if not parts:
        yield name, shape
    for part in parts:
        yield part, (shape[0] // 3, *shape[1:])


def thirds(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor's parts by name; the tensor itself where it is not joined."""
    parts = attention_thirds(name)
    if not parts:
        yield name, tensor
    yield from zip(parts, tensor.chunk(3), strict=False) if parts else ()


def grouped_projections(tensor: Tensor, heads: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """InternLM2's `wqkv` `[(heads + 2 * groups) * d, D]` to queries, keys and values.

    Its rows go group by group: of 32 heads in 8 groups first 4 heads of queries, then the group's keys, then
    its values, d rows each; then the next group.
    """
    each = heads // groups
    width = tensor.shape[0] // (heads + 2 * groups)
    rows = tensor.reshape(groups, each + 2, width, -1)
    queries, keys, values = rows[:, :each], rows[:, each], rows[:, each + 1]
    flat = (-1, tensor.shape[1])
    return queries.reshape(flat), keys.reshape(flat), values.reshape(flat)
