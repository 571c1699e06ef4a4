"""Random changes of whole batches at once, every picture with its own random numbers."""

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

NUMBERS = 6
"""Random numbers used per picture: zoom, aspect ratio, rotation, shift in x and y, mirroring."""

_ZOOM = 0.2
_ASPECT = 0.1
_DEGREES = 8.0
_SHIFT = 0.06


def augment(pixels: torch.Tensor, numbers: np.ndarray, mirror: bool) -> torch.Tensor:
    """Zoomed, stretched, turned, shifted and, if `mirror`, in half of the cases mirrored pictures.

    pixels: `(b, channels, h, w)` float, returned in the same shape and on the same device. numbers:
    `(b, NUMBERS)` uniform in 0..1, a row per picture. The side shown is 0.82 to 1.22 of the
    picture's, the aspect ratio changes by up to 10 %, the angle by up to 8 degrees, the centre by up
    to 6 % of the side and what zooming in leaves over; what lies outside is the picture reflected.
    """
    grid = affine_grid(_matrices(numbers, mirror).to(pixels.device), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _matrices(numbers: np.ndarray, mirror: bool) -> torch.Tensor:
    """From output to input coordinates, `(b, 2, 3)` float32; both run from -1 to 1."""
    signed = 2 * numbers - 1
    zoom, stretch = np.exp(_ZOOM * signed[:, 0]), np.exp(_ASPECT / 2 * signed[:, 1])
    angle = np.deg2rad(_DEGREES) * signed[:, 2]
    flip = np.where(mirror & (numbers[:, 5] < 0.5), -1.0, 1.0)
    shift = signed[:, 3:5] * (_SHIFT + np.maximum(1 - zoom, 0))[:, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    rows = [
        [zoom * stretch * cosine * flip, -zoom * stretch * sine, shift[:, 0]],
        [zoom / stretch * sine * flip, zoom / stretch * cosine, shift[:, 1]],
    ]
    return torch.from_numpy(np.moveaxis(np.array(rows), 2, 0).astype(np.float32))
