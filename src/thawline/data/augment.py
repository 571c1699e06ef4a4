"""Random changes of batches of pictures, every picture with its own random numbers."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import affine_grid, grid_sample

from thawline.config.sections import AugmentationName

FIXED = (AugmentationName.none, AugmentationName.mirror)
"""Augmentations whose variants of a picture no seed decides."""

NUMBERS = 6
"""Random numbers used per picture: zoom, aspect ratio, rotation, shift in x and y, mirroring."""

POLICIES = {
    AugmentationName.rand_augment: "RandAugment",
    AugmentationName.trivial_augment: "TrivialAugmentWide",
}
"""Augmentations that change 8-bit pictures one by one, with their names in torchvision, where they have the
settings of their papers."""

_ZOOM = 0.2
_ASPECT = 0.1
_DEGREES = 8.0
_SHIFT = 0.06


def variants(augmentation: AugmentationName, views: int, mirror: bool) -> int | None:
    """Return how many variants of each picture there are, of which epochs take one after the other; None: a
    new one every epoch."""
    if augmentation in FIXED:
        return 2 if augmentation is AugmentationName.mirror and mirror else 1
    return views or None


def augment(pixels: torch.Tensor, numbers: np.ndarray, mirror: bool) -> torch.Tensor:
    """Zoom, stretch, turn, shift and, if `mirror`, in half of the cases mirror pictures.

    pixels: `(b, channels, h, w)` float, returned in the same shape and on the same device. numbers:
    `(b, NUMBERS)` uniform in 0..1, a row per picture. The side shown is 0.82 to 1.22 of the
    picture's, the aspect ratio changes by up to 10 %, the angle by up to 8 degrees, the centre by up
    to 6 % of the side and what zooming in leaves over; what lies outside is the picture reflected.
    """
    grid = affine_grid(_matrices(numbers, mirror).to(pixels.device), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _matrices(numbers: np.ndarray, mirror: bool) -> torch.Tensor:
    """Return what leads from output to input coordinates, `(b, 2, 3)` float32; both run from -1 to 1."""
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


def augment_by_policy(
    images: np.ndarray, numbers: np.ndarray, mirror: bool, policy: AugmentationName, fill: Sequence[float]
) -> np.ndarray:
    """Mirror pictures in half of the cases if `mirror`, then change each by its own random operations.

    rand_augment: two of 14 operations at magnitude 9 of 30 (Cubuk et al. 2020). trivial_augment: one
    operation at a random magnitude (Mueller & Hutter 2021, the wide space). Geometric ones interpolate
    bilinearly. Done by torchvision on Pillow pictures, which is at least as fast as on tensors, one
    picture after the other, because hardly two of a batch share operation and magnitude. The global
    random generator is left where it was.

    images: `(b, h, w, channels)` uint8, 1 or 3 channels, not changed. numbers: `(b, NUMBERS)` uniform
    in 0..1; of each row the last decides mirroring and the first is the seed of everything else. fill:
    a value in 0..255 per channel for what lies outside the picture. Returns an array like `images`.
    """
    # torchvision takes as long to load as torch, and most recipes augment nothing by it
    from torchvision.transforms import v2

    change = getattr(v2, POLICIES[policy])(interpolation=v2.InterpolationMode.BILINEAR, fill=list(fill))
    changed = np.empty_like(images)
    with torch.random.fork_rng(devices=[]):
        for picture, row, place in zip(images, numbers, changed, strict=True):
            # torch.manual_seed would seed the accelerators' generators as well.
            torch.default_generator.manual_seed(int(row[0] * 2**53))
            upright = picture[:, ::-1] if mirror and row[5] < 0.5 else picture
            place[...] = np.asarray(change(_picture(upright))).reshape(picture.shape)
    return changed


def _picture(image: np.ndarray) -> Image.Image:
    # Pillow knows gray pictures without a channel axis only.
    return Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))
