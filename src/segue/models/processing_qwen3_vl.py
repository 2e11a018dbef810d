"""Pictures and conversations as Qwen3-VL reads them, with PRIMA's protocol in between."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from PIL import Image
from torch import Tensor

from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig
from segue.models.image_streams import IMAGENET_MEAN, IMAGENET_STD
from segue.models.patch_stream import PatchStream
from segue.models.processing_grounded import GroundedProcessor

QWEN_TEMPLATE = {
    "system": "",
    "user": "<|im_start|>user\n",
    "user_again": "\n<|im_start|>user\n",
    "assistant": "<|im_end|>\n<|im_start|>assistant\n",
    "answer": "",
    "end": "<|im_end|>",
}
"""Qwen3-VL's chat text: no system turn, answers end with `<|im_end|>`. Source: its chat template."""

QWEN_IMAGE_WRAP = ["<|vision_start|>", "<|vision_end|>"]

QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
"""Tokens of Qwen3-VL's tokenizer that prompts are written with."""

MIN_PIXELS, MAX_PIXELS = 256 * 32**2, 1024 * 32**2
"""Default limits of a picture's area, 256 to 1024 visual tokens. Source: ours; Qwen allows 64 to 16384, of
which nine pictures would be 147,456 tokens."""

_LITERAL = re.compile(r"<\|([A-Za-z_]{1,32})\|>")


class Qwen3VLGroundedProcessor(GroundedProcessor):
    """Processor of models on Qwen3-VL.

    The text has one placeholder an image; the model repeats it by the number of the image's tokens. Literal,
    for one picture::

        <|im_start|>user
        The <|vision_start|><|image_pad|><|vision_end|> (IMAGE1) provides an overview of the picture.
        What?<|im_end|>
        <|im_start|>assistant
        The <p> red mug </p> [SEG] (IMAGE1).<|im_end|>

    Args:
        see `GroundedProcessor`; the fields of the stream `pixel_values` are those of `PatchStream`.
    """

    image_token = "<|image_pad|>"
    companions = ("image_grid_thw",)

    def stream(self, name: str, fields: dict[str, Any]) -> Any:
        """Patches for the language model, a square for the segmenter."""
        return PatchStream(**fields) if name == "pixel_values" else super().stream(name, fields)

    def encode_pixels(
        self, images: list[Image.Image], names: tuple[str, ...] | None = None
    ) -> dict[str, Tensor]:
        """RGB images to patches `[P, C]` with `image_grid_thw` `[N, 3]`, and the segmenter's stream."""
        chosen = names if names is not None else tuple(self.streams)
        squares = super().encode_pixels(images, tuple(name for name in chosen if name != "pixel_values"))
        if "pixel_values" not in chosen:
            return squares
        return self.streams["pixel_values"].patches(images) | squares

    def hidden_tokens(self, hws: Sequence[tuple[int | None, int | None]]) -> int:
        """Tokens of all images but the placeholders; the most that one may have where its size is unknown.

        Raises:
            ImageError: See `PatchStream.resized_hw`.
        """
        stream = self.streams["pixel_values"]
        most = stream.max_pixels // (stream.patch_size * stream.merge_size) ** 2
        return sum((stream.num_tokens((h, w)) if h and w else most) - 1 for h, w in hws)

    def prompt_length(self, inputs: Mapping[str, Any]) -> int:
        """Tokens of one conversation; the placeholder of each image stands for all of its tokens."""
        grid = inputs["image_grid_thw"]
        merged = self.streams["pixel_values"].merge_size ** 2
        return super().prompt_length(inputs) + int((grid.prod(1) // merged - 1).sum())

    def render_chat(
        self,
        turns: list[tuple[str, str]],
        num_images: int,
        tokens_per_image: int,
        add_generation_prompt: bool,
    ) -> tuple[str, list[tuple[int, int]]]:
        """The chat as one string; see `GroundedProcessor.render_chat`."""
        # An `<|image_pad|>` that a user typed, or that a model wrote in an earlier answer, is no picture, and
        # `<|im_end|>` ends no turn.
        plain = [(role, _LITERAL.sub(r"< |\1| >", text)) for role, text in turns]
        return super().render_chat(plain, num_images, tokens_per_image, add_generation_prompt)


class Sa2vaProcessor(Qwen3VLGroundedProcessor):
    """Sa2VA's prompts: the picture, a line break, the question; see `segue.protocol.sa2va`."""

    dialect = "sa2va"


AnyProcessor = TypeVar("AnyProcessor", bound=Qwen3VLGroundedProcessor)


def qwen_processor(
    kind: type[AnyProcessor], tokenizer: Any, streams: dict[str, dict[str, Any]]
) -> AnyProcessor:
    """A processor that writes Qwen3-VL's chat text.

    Args:
        kind: Its class.
        tokenizer: Knows `QWEN_TOKENS`.
        streams: See `qwen_streams_for`.
    """
    return kind(
        tokenizer,
        image_streams=streams,
        num_query_tokens=1,
        template=dict(QWEN_TEMPLATE),
        image_wrap=list(QWEN_IMAGE_WRAP),
    )


def qwen_streams_for(
    config: Qwen3VLGroundedConfig, min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS
) -> dict[str, dict[str, Any]]:
    """Image streams whose sizes agree with a configuration.

    Args:
        config: Names the patches and the segmenter's square.
        min_pixels, max_pixels: Limits of the area of a picture that the language model sees.
    """
    vision = config.vision_config
    return {
        "pixel_values": {
            "min_pixels": min_pixels,
            "max_pixels": max_pixels,
            "patch_size": vision.patch_size,
            "merge_size": vision.spatial_merge_size,
            "temporal_patch_size": vision.temporal_patch_size,
        },
        "pixel_values_sam": {
            "size": config.sam_config.prompt_encoder_config.image_size,
            # SAM 2 was trained on squashed pictures, SAM on padded ones.
            "fit": "stretch" if config.sam_config.model_type == "sam2" else "pad",
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        },
    }


SA2VA_MIN_PIXELS, SA2VA_MAX_PIXELS = 512 * 28**2, 2048 * 28**2
"""Limits of Sa2VA's pictures: written for patches of 28 pixels, though Qwen3-VL's have 32, so that a picture
has 392 to 1568 tokens. Source: Sa2VA's code."""

_ROUNDED = {"mean": (0.484375, 0.455078125, 0.40625), "std": (0.228515625, 0.2236328125, 0.224609375)}
"""ImageNet's numbers as bfloat16 holds them: what Sa2VA's inference divides by. Source: Sa2VA's code."""


def sa2va_streams_for(
    config: Qwen3VLGroundedConfig, min_pixels: int = SA2VA_MIN_PIXELS, max_pixels: int = SA2VA_MAX_PIXELS
) -> dict[str, dict[str, Any]]:
    """Image streams as Sa2VA's inference has them; see `qwen_streams_for`."""
    streams = qwen_streams_for(config, min_pixels, max_pixels)
    streams["pixel_values_sam"] |= {name: list(value) for name, value in _ROUNDED.items()}
    return streams
