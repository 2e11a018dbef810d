"""How sure the language model was of a `[SEG]` and the phrase before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from segue.models.modeling_grounded import GroundedModel


@torch.no_grad()
def text_confidence(model: GroundedModel, ids: list[int], spoken: Tensor, place: int, phrase: range) -> float:
    """Geometric mean of the probabilities of a `[SEG]` and the tokens of its phrase.

    The model's own probabilities count: before temperature, and before a grammar forbids anything. A mean, so
    that long phrases are not less sure than short ones.

    Args:
        model: of any family.
        ids: T ids of the answer so far.
        spoken: `[T, D]` states of the steps, on the side of the last norm that the family reads prompts from;
            row i predicts id i.
        place: of the `[SEG]` among the ids.
        phrase: places of the tokens of its phrase; empty in families without tags.

    Source: ours.
    """
    places = [*phrase, place]
    states = spoken[places]
    if model.prompt_state.norm == "before":
        # Not called: while an answer is written, a hook takes each call for a step of it.
        states = model.final_norm.forward(states)
    # float32: bfloat16 has no probabilities between 0.996 and 1.
    log_probs = model.get_output_embeddings()(states).float().log_softmax(-1)
    chosen = torch.tensor([ids[p] for p in places], device=log_probs.device)
    return float(log_probs.gather(1, chosen[:, None]).mean().exp())
