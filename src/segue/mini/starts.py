"""Starts for vision transformers that are trained from nothing on few images.

Three habits that convolutional networks have from the first step and plain transformers must learn:
neighbours matter (sine positions), look at what is like yourself (queries equal keys), and pixels come in
smooth patches (whitened patch embedding).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segue.models.mini.modeling_mini import MiniModel
from segue.models.mini.slots import sine_positions


def alike_queries(width: int, heads: int) -> Tensor:
    """`[width, width]` one orthonormal projection per head, to be used for queries and keys alike."""
    return torch.cat([torch.linalg.qr(torch.randn(width, width // heads))[0].T for _ in range(heads)])


@torch.no_grad()
def whiten_patches(projection: nn.Conv2d, pixels: Tensor, gain: float = 0.5) -> None:
    """Let a patch embedding start as the whitened principal components of real patches, randomly rotated.

    Args:
        projection: kernel equals stride.
        pixels: `[N, 3, S, S]` normalised training pictures.
        gain: standard deviation of the outputs.
    """
    size, width = projection.kernel_size[0], projection.out_channels
    patches = nn.functional.unfold(pixels, size, stride=size).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    whitened = (vectors / (values + 0.02 * values.mean()).sqrt()).T
    rotated = gain * torch.linalg.qr(torch.randn(width, width))[0] @ whitened
    projection.weight.copy_(rotated.reshape(projection.weight.shape))
    assert projection.bias is not None
    projection.bias.copy_(-rotated @ mean)


@torch.no_grad()
def start_towers(model: MiniModel, clip_pixels: Tensor, dino_pixels: Tensor, seed: int = 0) -> None:
    """Start CLIP and DINOv2 of a small model so that they learn quickly.

    Args:
        clip_pixels, dino_pixels: `[N, 3, S, S]` some training pictures, normalised for each tower.

    Source: ours, after whitened first layers and mimetic initialisation (Trockman and Kolter 2023).
    """
    torch.manual_seed(seed)
    dino, clip = model.aux_vision_model, model.vision_model
    width, side = dino.config.hidden_size, dino.config.image_size // dino.config.patch_size
    dino.embeddings.position_embeddings[0, 1:] = 0.5 * sine_positions(side, width)
    whiten_patches(dino.embeddings.patch_embeddings.projection, dino_pixels)
    for layer in dino.encoder.layer:
        start = alike_queries(width, dino.config.num_attention_heads)
        layer.attention.q_proj.weight.copy_(start)
        layer.attention.k_proj.weight.copy_(start)
    width, side = clip.config.hidden_size, clip.config.image_size // clip.config.patch_size
    clip.embeddings.position_embedding[0, 1:] = 0.5 * sine_positions(side, width)
    whiten_patches(clip.embeddings.patch_embedding, clip_pixels)
    for layer in clip.encoder.layers:
        start = alike_queries(width, clip.config.num_attention_heads)
        layer.self_attn.qkv.weight[: 2 * width] = torch.cat([start, start])


@torch.no_grad()
def start_sam(model: MiniModel, pixels: Tensor, seed: int = 0) -> None:
    """The same for SAM's encoder."""
    torch.manual_seed(seed)
    encoder = model.sam.vision_encoder
    width, side = encoder.config.hidden_size, encoder.config.image_size // encoder.config.patch_size
    encoder.pos_embed.copy_(0.5 * sine_positions(side, width).reshape(1, side, side, width))
    whiten_patches(encoder.patch_embed.projection, pixels)
    for layer in encoder.layers:
        start = alike_queries(width, encoder.config.num_attention_heads)
        layer.attn.qkv.weight[: 2 * width] = torch.cat([start, start])
