"""Several conversations answered at once, of different lengths and numbers of images.

The rows stand flush right, so that their answers begin in one column. Literal, for prompts of 5 and 3 tokens
whose answers have 2 and 4 (E ends an answer; what follows it is padding):

    mask      1 1 1 1 1 | 1 1 0 0
              0 0 1 1 1 | 1 1 1 1
    answers             | a E
                        | b c d E

Positions count what the mask shows, so a row is read as it would be alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from segue.models.generation import GroundedGeneration, checked_options, end_ids, grounded, read_ahead
from segue.models.seg_prompts import NormHook
from segue.models.splice import TextInputs

if TYPE_CHECKING:
    from segue.models.modeling_grounded import GroundedModel


@torch.no_grad()
def generate_many(
    model: GroundedModel,
    input_ids: Tensor,
    num_images: Tensor | list[int],
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int = 512,
    generation_options: dict[str, Any] | None = None,
    **streams: Any,
) -> list[GroundedGeneration]:
    """Answer a batch of conversations.

    Args:
        model: of any family.
        input_ids: `[B, L]`, right-padded, as the processor's `collate` makes it.
        num_images: B counts.
        attention_mask: `[B, L]`.
        max_new_tokens: budget of each answer.
        generation_options: see `generation.generate`. Draws of `do_sample` are those of the batch.
        **streams: the family's image inputs; images of all conversations are concatenated.

    Returns:
        B answers, each as it would be alone up to the rounding of sums.

    Raises:
        AlignmentError, InputError: see `generation.generate`.
    """
    options = checked_options(generation_options)
    counts = num_images.tolist() if isinstance(num_images, Tensor) else list(num_images)
    text = TextInputs(input_ids, attention_mask)
    embeds, visual = model.embed(text, counts, **streams)
    # From here on `text`: its placeholders may have been expanded.
    shown = text.attention_mask if text.attention_mask is not None else torch.ones_like(text.input_ids)
    reading = {
        name: _shifted(value, shown) if isinstance(value, Tensor) else value
        for name, value in model.reading(text, visual).items()
    }
    embeds, mask = flush_right(embeds, shown)
    text = TextInputs(_shifted(text.input_ids, shown), mask)
    cache = DynamicCache(config=model.config.text_config)
    kept = read_ahead(model, text, embeds, reading, cache)
    positions = {name: value for name, value in reading.items() if name == "position_ids"}
    with NormHook(model.final_norm, model.prompt_state.norm, last_only=True) as caught:
        new_ids: Tensor = model.language_model.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            past_key_values=cache,
            use_cache=True,
            **positions,
            **options,
        )
    spoken = caught.generated(embeds.shape[1] - kept, new_ids.shape[1])
    after = spoken[1:]
    if model.prompt_state.position == "at" and bool((new_ids[:, -1] == model.config.seg_token_id).any()):
        # The budget ended an answer at a `[SEG]`, which was therefore never fed: it is fed now.
        after = torch.cat([after, _read_last(model, new_ids, mask, cache, positions)[None]])
    found = []
    for row, length in enumerate(_lengths(new_ids, end_ids(model))):
        ids = new_ids[row, :length]
        segs = torch.nonzero(ids == model.config.seg_token_id)[:, 0]
        states = spoken if model.prompt_state.position == "before" else after
        found.append(grounded(model, ids, spoken[:length, row], states[segs, row]))
    return found


def flush_right(embeds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of each row from the right to the left.

    Args:
        embeds: `[B, L, D]`.
        mask: `[B, L]`, 1 where there is something; that stands on the left.
    """
    moved, shown = torch.zeros_like(embeds), torch.zeros_like(mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        moved[row, embeds.shape[1] - length :] = embeds[row, :length]
        shown[row, embeds.shape[1] - length :] = 1
    return moved, shown


def _shifted(values: Tensor, shown: Tensor) -> Tensor:
    """`[..., B, L]` with the padding of each row moved to the left, as `flush_right` moves embeddings."""
    lengths = shown.sum(1, keepdim=True)
    # Row of 3 tokens among 5 places: 3 4 0 1 2 are the places that its values come from.
    places = (torch.arange(shown.shape[1], device=shown.device)[None] + lengths) % shown.shape[1]
    return values.gather(-1, places.expand(values.shape))


def _read_last(
    model: GroundedModel, new_ids: Tensor, mask: Tensor, cache: DynamicCache, positions: dict[str, Tensor]
) -> Tensor:
    """States `[B, D]` at the last new ids, which generation does not read."""
    # The mask covers the prompt and all new ids. Rows that ended earlier read padding; nobody asks for it.
    whole = torch.cat([mask, mask.new_ones(new_ids.shape)], dim=1)
    with NormHook(model.final_norm, model.prompt_state.norm, last_only=True) as caught:
        if positions:
            places = positions["position_ids"][..., -1:] + new_ids.shape[1]
        else:
            places = whole.sum(1, keepdim=True) - 1
        model.text_model(
            input_ids=new_ids[:, -1:], attention_mask=whole, position_ids=places, past_key_values=cache
        )
    return caught.states[0]


def _lengths(new_ids: Tensor, ends: list[int]) -> list[int]:
    """Tokens of each answer `[B, T]`, its end token included; what follows is padding."""
    found = []
    for ids in new_ids.tolist():
        ended = [place for place, token in enumerate(ids) if token in ends]
        found.append(ended[0] + 1 if ended else len(ids))
    return found
