"""Mask prompts of `[SEG]`: which hidden state they are, how it is caught, and its projection."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segue.errors import AlignmentError


@dataclass(frozen=True)
class PromptState:
    """The hidden state that a family reads a `[SEG]`'s mask prompt from.

    Literal, for `the <p> mug </p> [SEG] (IMAGE1)`: `before` reads at `</p>`, whose state predicts `[SEG]`;
    `at` reads at `[SEG]`, after it was fed.

    Attributes:
        position: `before` (LISA, GLaMM, PRIMA, MIRAS) or `at` (OMG-LLaVA, Sa2VA).
        norm: `after` the language model's last norm, or `before` it (Sa2VA on Qwen3-VL). The wrong one gives
            wrong masks and no error.
    """

    position: Literal["before", "at"] = "before"
    norm: Literal["before", "after"] = "after"


class SegProjection(nn.Sequential):
    """f_t-s: the LM's state to a segmenter's prompt, Linear - ReLU - Linear, or with another activation.

    Source: PRIMA section 3.2; layers as in GLaMM. OMG-LLaVA's code has GELU.
    """

    def __init__(
        self, width: int, hidden_width: int, prompt_width: int, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        # The places 0 and 2 are also the published names: `text_hidden_fcs.0.0`, `text_hidden_fcs.0.2`.
        super().__init__(nn.Linear(width, hidden_width), activation(), nn.Linear(hidden_width, prompt_width))


class NormHook:
    """Catches what goes into or comes out of the LM's last norm, call by call, while it is entered.

    Asking transformers for hidden states instead would keep those of all layers and steps: for a 7B model
    and a prompt of 2,000 tokens about half a gigabyte, of which one vector per `[SEG]` is wanted. Some
    families also publish as "last hidden state" what others have only before the norm.

    Args:
        norm: the last norm.
        side: `before` or `after`.
        last_only: keep the last position alone (while text is generated), not all of them.
    """

    def __init__(self, norm: nn.Module, side: Literal["before", "after"], *, last_only: bool) -> None:
        self.norm, self.side, self.last_only = norm, side, last_only
        self.states: list[Tensor] = []
        self.lengths: list[int] = []
        self._handle: Any = None

    def __enter__(self) -> NormHook:
        self._handle = self.norm.register_forward_hook(self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _catch(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        state = args[0] if self.side == "before" else output
        self.lengths.append(state.shape[1])
        # Cloned: a view of the last position would keep the states of the whole prompt alive.
        self.states.append(state[:, -1].detach().clone() if self.last_only else state)

    def generated(self, prompt_length: int, num_ids: int) -> Tensor:
        """States `[T, B, D]` of all steps: step i predicts new id i of every conversation.

        Args:
            prompt_length: tokens that stood before the first new one, padding included.
            num_ids: T new ids.

        Raises:
            AlignmentError: generation did not go one token a step, so that a step's last state need not be
                the one that predicted an id: assisted or prompt-lookup decoding tries several tokens at once
                (and may drop some, which leaves even the counts equal), chunked prefill reads the prompt in
                pieces.
        """
        # Worked example, a prompt of 40 and 3 new ids: lengths 40, 1, 1. The third id is never fed.
        if self.lengths != [prompt_length, *[1] * (num_ids - 1)]:
            raise AlignmentError(
                "Text was not generated token by token, so the states of its [SEG] are not known.",
                expected=f"{num_ids} steps: the prompt of {prompt_length} tokens, then one token each",
                found=f"{len(self.lengths)} steps over {sum(self.lengths)} tokens, up to "
                f"{max(self.lengths[1:], default=0)} a step after the first of {self.lengths[0]}"
                if self.lengths
                else "no step",
                where="generation_options",
                fix="leave out prompt_lookup_num_tokens and whatever else tries several tokens a step",
            )
        return torch.stack(self.states)
