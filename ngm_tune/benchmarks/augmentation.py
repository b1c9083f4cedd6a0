"""Data augmentation. torch is imported when a function is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 zero pixels, crop at random, and flip horizontally with probability 1/2.

    Each image has its own crop and flip.

    Args:
        images: Shape (B, channels, H, W).
        generator: A generator on the device of ``images``.

    Returns:
        Images of the same shape and type.
    """
    import torch
    from torch.nn.functional import pad

    batch, _, height, width = images.shape

    def draw(high: int) -> Tensor:
        return torch.randint(high, (batch, 1), generator=generator, device=images.device)

    rows = draw(9) + torch.arange(height, device=images.device)
    columns = draw(9) + torch.arange(width, device=images.device)
    columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    padded = pad(images, (4, 4, 4, 4))
    image = torch.arange(batch, device=images.device)[:, None, None]
    cropped = padded[image, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)
