"""Semantic region alignment: a mask prompt asks the states of its own phrase before it goes to SAM.

"Its own phrase" is told by the token that opens phrases, `[OBJ]` in MIRAS and `<p>` in PRIMA, in the answer
that the `[SEG]` stands in. Literal, for one answer of nine tokens:

    place    0    1  2     3    4    5     6     7    8
    token    The  is [OBJ] red  mug  [SEG] and   here [SEG]
    phrase of the [SEG] at 5: the states that predict the tokens 2, 3, 4; that of the [SEG] at 8: the same.

The state that predicts `[SEG]` itself is the query and no part of them. A `[SEG]` before any opening token of
its answer has no phrase and keeps its prompt as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import initialization as init

from segue.errors import ModelError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.losses import IGNORE_INDEX


class RegionAlignment(nn.Module):
    """Cross-attention from a mask prompt to the projected states of its phrase, added to the prompt.

    The output layer starts at zero: at step 0 every prompt is the plain `[SEG]` projection. With
    `region_alignment_residual` off, what was attended to replaces the prompt, and the output layer starts at
    random.

    Source: MIRAS's template and stage-1 code (8 heads, projected states, a linear layer after them), whose
    module is made anew with random weights in every step and is never saved; registering, training and saving
    it, the residual, the zero start and the padding mask are ours.
    """

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__()
        if config.phrase_token_id < 0:
            raise ModelError(
                "Region alignment cannot find phrases.",
                expected="phrase_token_id, the id of the token that opens a phrase",
                found=str(config.phrase_token_id),
                where="config.phrase_token_id",
                fix="set it to the tokenizer's id of <p>, or of [OBJ] in MIRAS",
            )
        width = config.prompt_width
        self.residual = config.region_alignment_residual
        self.attention = nn.MultiheadAttention(width, config.region_alignment_heads, batch_first=True)
        self.output = nn.Linear(width, width)

    def reset(self) -> None:
        """Start as new: the identity on prompts, or at random where they are replaced."""
        init.xavier_uniform_(self.attention.in_proj_weight)
        init.zeros_(self.attention.in_proj_bias)
        # Only the very last layer may be zero: behind two zero layers no gradient would reach either.
        init.xavier_uniform_(self.attention.out_proj.weight)
        init.zeros_(self.attention.out_proj.bias)
        (init.zeros_ if self.residual else init.xavier_uniform_)(self.output.weight)
        init.zeros_(self.output.bias)

    def forward(self, prompts: Tensor, phrases: Sequence[Tensor]) -> Tensor:
        """Align prompts with their phrases.

        Args:
            prompts: `[K, D_S]`.
            phrases: K tensors `[L_k, D_S]` of any length; an empty one leaves its prompt as it is.

        Returns:
            `[K, D_S]`. What stands in one row depends on no other row.
        """
        if len(prompts) == 0:
            return prompts
        # A row without a phrase attends to itself and is put back below: every process of a sharded run then
        # passes through the module.
        keys = [found if len(found) else own[None] for found, own in zip(phrases, prompts, strict=True)]
        lengths = torch.tensor([len(found) for found in keys], device=prompts.device)
        padded = pad_sequence(keys, batch_first=True)
        # True hides a place here, where 1 shows one in an `attention_mask`.
        padding = torch.arange(padded.shape[1], device=prompts.device)[None] >= lengths[:, None]
        found = self.attention(prompts[:, None], padded, padded, key_padding_mask=padding, need_weights=False)
        change = self.output(found[0][:, 0])
        aligned = prompts + change if self.residual else change
        has_phrase = torch.tensor([len(found) > 0 for found in phrases], device=prompts.device)
        return torch.where(has_phrase[:, None], aligned, prompts)


def phrases_of(answer: Sequence[int], phrase_token_id: int, seg_token_id: int) -> list[range]:
    """For each `[SEG]` of one answer, the places of the tokens of its phrase; see the module's example.

    Args:
        answer: token ids of the answer, nothing before it.
        phrase_token_id: opens a phrase, which reaches to the next `[SEG]`.
        seg_token_id: id of `[SEG]`.
    """
    found: list[range] = []
    phrase, opened = range(0), None
    for place, token in enumerate(answer):
        if token == phrase_token_id:
            # A second tag before any `[SEG]` begins the phrase anew.
            opened = place
        elif token == seg_token_id:
            if opened is not None:
                phrase, opened = range(opened, place), None
            found.append(phrase)
    return found


def phrase_state_columns(
    input_ids: Tensor, labels: Tensor, phrase_token_id: int, seg_token_id: int
) -> list[tuple[int, range]]:
    """Row and columns of the states of each labelled `[SEG]`'s phrase, in the order of the `[SEG]`.

    An answer is a run of labelled tokens; a state stands one column before the token that it predicts.

    Args:
        input_ids: `[B, L]`.
        labels: `[B, L]`.
        phrase_token_id, seg_token_id: see `phrases_of`.

    Returns:
        K pairs; an empty range where there is no phrase.
    """
    found: list[tuple[int, range]] = []
    for row, (ids, targets) in enumerate(zip(input_ids.tolist(), labels.tolist(), strict=True)):
        for run in labelled_runs(targets):
            answer = phrases_of(ids[run.start : run.stop], phrase_token_id, seg_token_id)
            # An answer from column 10 on has its token 2 in column 12; the state that predicts it is in 11.
            shift = run.start - 1
            found += [(row, range(p.start + shift, p.stop + shift) if p else p) for p in answer]
    return found


def labelled_runs(labels: Sequence[int]) -> list[range]:
    """Columns of each answer of one conversation: the runs of labels that count.

    Args:
        labels: L labels, `IGNORE_INDEX` where a token belongs to no answer.
    """
    runs: list[range] = []
    start: int | None = None
    # The label at the end closes a run that reaches so far. Two answers never touch: between them stands the
    # next question, without labels.
    for column, label in enumerate([*labels, IGNORE_INDEX]):
        if label != IGNORE_INDEX:
            start = column if start is None else start
        elif start is not None:
            runs.append(range(start, column))
            start = None
    return runs
