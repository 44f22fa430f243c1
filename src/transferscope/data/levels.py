"""Kept pixels as torch computes with them: bytes as they are, deeper ones as grey values 0 to 255 with fractions.

So one unit holds for crops, augmentations and normalisation, whatever the depth of a table.
"""

import numpy as np
import torch
from torch import Tensor


def bits(pixels: np.ndarray) -> Tensor:
    """Kept pixels, uint8, uint16 or float32, without copying them: 16 bits as int16, which every device can index."""
    return torch.from_numpy(pixels.view(np.int16) if pixels.dtype == np.uint16 else pixels)


def grey(pixels: Tensor) -> Tensor:
    """Grey values of `bits` of any shape: uint8 as they are, else float32 of 0 to 255 in memory of their own."""
    if pixels.dtype == torch.uint8:
        return pixels
    if pixels.dtype == torch.int16:
        return (pixels.to(torch.int32) & 0xFFFF).to(torch.float32).mul_(255 / 65535)
    return pixels * 255.0
