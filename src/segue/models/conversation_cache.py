"""Keys and values of a conversation so far, so that a later turn reads its own words only."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig


class ConversationCache:
    """All that the language model has read of one conversation.

    The history of a conversation only grows at its end, so the tokens that two turns begin with are the same
    and are read once. Nothing has to be told of `undo` and `reset`: what a turn does not begin with is cut.

    Args:
        text_config: of the language model.

    Source: paper silent; ours. Published code reads images and dialogue again in every turn.
    """

    def __init__(self, text_config: PreTrainedConfig) -> None:
        self._config = text_config
        self.states: DynamicCache = DynamicCache(config=text_config)
        self.repeated = False
        """Whether the last prompt made all pictures be read again that had been read before."""
        self._ids: list[int] = []
        self._images: Hashable = None

    def __len__(self) -> int:
        return len(self._ids)

    def begin(self, ids: Sequence[int], images: Hashable, image_token_id: int) -> int:
        """Keep what a new prompt begins with, and say how many tokens that is.

        Worked example: read were `A <image> <image> B answer`, the prompt is `A <image> <image> C`. Three
        tokens are kept; `B answer` is cut off.

        Args:
            ids: the whole prompt, placeholders expanded.
            images: identifies all that the visual tokens depend on: pictures, and the instruction where they
                are read with one. A tuple with one item for each picture, where an image's tokens depend on
                nothing else: pictures that are added at its end leave the others' tokens as they were.
            image_token_id: the placeholder. A prefix that ends among those of one set of pictures is not
                kept: visual tokens go in together.

        Returns:
            Less than `len(ids)`: the last token is always read, for its state predicts the first new one.
        """
        kept, grown = 0, _grown(self._images, images)
        if images == self._images or grown:
            while kept < min(len(self._ids), len(ids) - 1) and self._ids[kept] == ids[kept]:
                kept += 1
        # With the same pictures the rest is embedded as words alone (`generation._unread`): no placeholder
        # may be among it. With added ones there is one in any case, and all is embedded.
        if (not grown and image_token_id in ids[kept:]) or not self._can_be_cut:
            kept = 0
        self.repeated = image_token_id in self._ids and image_token_id not in ids[:kept]
        self._cut(kept)
        self._images = images
        return kept

    def end(self, ids: Sequence[int]) -> None:
        """Note what has been read by now: as much of `ids` as there are states (the last new id has none)."""
        self._ids = list(ids[: self.states.get_seq_length()])

    @property
    def _can_be_cut(self) -> bool:
        """Whether every layer keeps every position; sliding windows and recurrent layers do not."""
        # Before the first prompt layers have no keys: that counts as no, and nothing is lost by it.
        return all(
            getattr(layer, "keys", None) is not None and not getattr(layer, "is_sliding", False)
            for layer in self.states.layers
        )

    def _cut(self, length: int) -> None:
        self._ids = self._ids[:length]
        if length == 0:
            # A new one, because an interrupted step may have left layers of different lengths.
            self.states = DynamicCache(config=self._config)
            return
        # Not `crop`: transformers 5.0 takes the length to keep there, 5.23 the number to remove.
        for layer in self.states.layers:
            states: Any = layer
            states.keys, states.values = _head(states.keys, length), _head(states.values, length)


def _grown(before: Hashable, now: Hashable) -> bool:
    """Whether pictures were added at the end and all others are as they were."""
    if not isinstance(before, tuple) or not isinstance(now, tuple):
        return False
    return 0 < len(before) < len(now) and now[: len(before)] == before


def _head(states: Tensor, length: int) -> Tensor:
    """The first positions of `[B, heads, L, D]`; copied, so that the memory of the others is given back."""
    return states[..., :length, :].clone() if states.shape[-2] > length else states
