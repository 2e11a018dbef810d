"""Pictures and conversations as OMG-LLaVA reads them: InternLM2's chat text, centred squares, marks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segue.models.losses import resize_logits
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.processing_grounded import GroundedProcessor

INTERNLM2_TEMPLATE = {
    "system": "",
    "user": "<|im_start|>user\n",
    "user_again": "\n<|im_start|>user\n",
    "assistant": "<|im_end|>\n<|im_start|>assistant\n",
    "answer": "",
    "end": "<|im_end|>",
}
"""InternLM2's chat text without a system turn; the first turn begins with `<s>`, later ones do not.

Source: OMG-LLaVA's code (`internlm2_chat`)."""

MARK, REGION = "<mark>", "<region>"
"""Where a point, and where a box or mask, stands in a question. Source: OMG-LLaVA's code."""

OMG_MEAN, OMG_STD = [0.4814, 0.4578, 0.4082], [0.2686, 0.2613, 0.2757]
"""CLIP's, rounded. Source: OMG-LLaVA's code."""

_MARKS = re.compile("|".join(map(re.escape, (MARK, REGION))))
_LITERAL = re.compile(r"<\|([A-Za-z_]{1,32})\|>")


class OmgLlavaProcessor(GroundedProcessor):
    """Processor of OMG-LLaVA.

    The text has one placeholder an image; the model repeats it by the number of the image's tokens. Literal,
    for
    one picture (for several PRIMA's sentence stands in the place of `<image>`)::

        <s><|im_start|>user
        <image>
        Can you segment the dog in this image?<|im_end|>
        <|im_start|>assistant
        <p> Dog </p> [SEG].<|im_end|>

    Args:
        see `GroundedProcessor`; `num_query_tokens` are the tokens that an image has at most.
    """

    # OMG-LLaVA's answers are GLaMM's; answers about regions have a `[SEG]` alone, as LISA's.
    dialect = "lisa"

    def encode_turns(
        self,
        turns: list[tuple[str, str]],
        num_images: int,
        add_generation_prompt: bool = False,
        num_marks: int = 0,
    ) -> dict[str, list[int]]:
        """As in other families.

        Args:
            num_marks: of the first `<mark>` and `<region>` of the questions so many stand for visual prompts;
                all others are words that a user typed.
        """
        most, self.num_query_tokens = self.num_query_tokens, 1
        try:
            return super().encode_turns(_plain(turns, num_marks), num_images, add_generation_prompt)
        finally:
            self.num_query_tokens = most

    def read_marks(self, count: int) -> dict[str, Any]:
        """The first `count` marks are regions: whatever a user typed, the session has made words."""
        return {"num_marks": count}

    def hidden_tokens(self, hws: Sequence[tuple[int | None, int | None]]) -> int:
        """Tokens of all images but the placeholders, at most: how many objects are found is not known yet."""
        return len(hws) * (self.num_query_tokens - 1)

    def prompt_length(self, inputs: Mapping[str, Any]) -> int:
        """Tokens of one conversation; exact where images have been encoded, else at most."""
        written = super().prompt_length(inputs)
        if "winner_features" in inputs:
            number, cells = inputs["cell_features"].shape[:2]
            # A separator each, in the place of the placeholder.
            return written + number * cells + int(inputs["winner_features"].sum())
        return written + self.hidden_tokens([(None, None)] * int(torch.as_tensor(inputs["num_images"]).sum()))

    def enlarge(self, mask_logits: Tensor, inside: tuple[int, int], outside: tuple[int, int]) -> Tensor:
        """Logits to a square as large as the photograph's longer side, and its middle.

        Source: OMG-LLaVA's code.
        """
        return resize_logits(mask_logits, outside, outside, max(outside), centred=True)


def _plain(turns: list[tuple[str, str]], num_marks: int) -> list[tuple[str, str]]:
    """Turns in which nothing but the first marks is more than words."""
    left = num_marks

    def keep(match: re.Match[str]) -> str:
        nonlocal left
        left -= 1
        return match[0] if left >= 0 else f"< {match[0][1:-1]} >"

    plain = []
    for role, text in turns:
        # An earlier answer is a model's text: no mark, and no end of a turn.
        text = _MARKS.sub(keep if role == "user" else lambda match: f"< {match[0][1:-1]} >", text)
        plain.append((role, _LITERAL.sub(r"< |\1| >", text)))
    return plain


def omg_streams_for(config: OmgLlavaConfig) -> dict[str, dict[str, Any]]:
    """The one image stream, which words and masks share."""
    size = config.perception_config.backbone_config.image_size
    return {"pixel_values_sam": {"size": size, "fit": "square", "mean": OMG_MEAN, "std": OMG_STD}}


def most_tokens(config: OmgLlavaConfig) -> int:
    """Tokens that an image has at most: its cells, a separator, and an object in every cell."""
    cells: int = config.perception_config.cells_per_side**2
    return cells + 1 + min(cells, config.perception_config.num_queries)
