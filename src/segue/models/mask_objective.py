"""Mask terms of the training objective: masks of each image against its labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from segue.models.configuration_grounded import GroundedConfig
from segue.models.losses import bce_loss, dice_loss, focal_loss, resize_logits, shrink_masks
from segue.models.point_loss import point_losses, uncertain_points
from segue.models.segmenter import Segmenter
from segue.models.splice import check_image_indices, check_image_masks, check_seg_count


@dataclass(frozen=True)
class MaskLabels:
    """Masks that a batch is compared with.

    Attributes:
        masks: N tensors `[K_i, H_i, W_i]`, masks of image i in text order; None where nothing is compared.
        image_index: `[K]` image of every `[SEG]`, in text order.
        original_hw: `[N, 2]` sizes of the photographs; those of the masks when None.
        resized_hw: `[N, 2]` their sizes inside the segmenter's square; all of it when None.
        total: number of masks to divide by, when the batch is a part of a larger one.
    """

    masks: list[Tensor] | None
    image_index: Tensor
    original_hw: Tensor | None = None
    resized_hw: Tensor | None = None
    total: float | None = None

    def check(self, num_segs: int, num_images: int) -> None:
        """Refuse masks that are not those of the text.

        Args:
            num_segs: labelled `[SEG]` of the batch.
            num_images: N.

        Raises:
            AlignmentError: The masks are not as many as the `[SEG]`, or name an image that is not there.
        """
        indices = len(self.image_index)
        num_masks = indices if self.masks is None else sum(len(masks) for masks in self.masks)
        check_seg_count(num_segs, num_masks, indices)
        check_image_indices(self.image_index, num_images)


def mask_terms(
    config: GroundedConfig, segmenter: Segmenter, mask_logits: Tensor, labels: MaskLabels, zero: Tensor
) -> dict[str, Tensor]:
    """Dice and pixel terms: the mean over the masks of the batch.

    Args:
        config: which losses, and at which size they are compared.
        segmenter: whose square the logits cover.
        mask_logits: `[K, h, w]` in text order.
        labels: what they should have been.
        zero: scalar 0 that depends on every trained parameter on the way to a mask: what a batch without
            masks gives. In DDP and ZeRO a process whose parameters got no gradient at all would let the
            others wait forever.

    Raises:
        AlignmentError: An image has more or fewer masks than `[SEG]` that address it.

    Source: GLaMM's code (sum over masks / number of masks); PRIMA's text names focal in place of BCE; at
    points Sa2VA's code, but for the 1e-4 that it adds to the number of masks.
    """
    side, centred = segmenter.input_size, segmenter.centred
    dice, pixel, count = zero, zero, 0
    for index, masks in enumerate(labels.masks or []):
        # Picking by a condition keeps text order, which is the order of this image's masks.
        chosen = mask_logits[labels.image_index == index]
        check_image_masks(index, len(chosen), len(masks))
        # After the check: an image without masks must have no `[SEG]` either.
        if len(masks) == 0:
            continue
        height, width = (side, side) if labels.resized_hw is None else labels.resized_hw[index].tolist()
        inside = (height, width)
        if config.mask_loss_resolution == "points":
            targets = shrink_masks(masks, inside, chosen.shape[-1], side, centred=centred, mode="nearest")
            at_points = point_losses(chosen, targets, uncertain_points(chosen, config.mask_loss_points))
            dice, pixel, count = dice + at_points[0].sum(), pixel + at_points[1].sum(), count + len(masks)
            continue
        if config.mask_loss_resolution == "original":
            outside = masks.shape[-2:] if labels.original_hw is None else labels.original_hw[index].tolist()
            chosen = resize_logits(chosen, inside, (outside[0], outside[1]), side, centred=centred)
            targets = masks
        else:
            targets = shrink_masks(masks, inside, chosen.shape[-1], side, centred=centred)
        # Sums, divided once at the end: with means per image, masks of a full image would count less.
        dice = dice + dice_loss(chosen, targets).sum()
        pixel = pixel + pixel_loss(config, chosen, targets).sum()
        count += len(masks)
    divisor = max(count if labels.total is None else labels.total, 1)
    return {"dice": dice / divisor, "pixel": pixel / divisor}


def pixel_loss(config: GroundedConfig, mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Focal or BCE as the configuration says: `[K, ...]` logits and masks to `[K]`."""
    if config.pixel_loss == "bce":
        return bce_loss(mask_logits, masks)
    return focal_loss(mask_logits, masks, alpha=config.focal_alpha, gamma=config.focal_gamma)
