"""Pictures of `minicnn explain --png`: the maps of `inspect` over the image, and the filters of the first layer."""

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray

SIDE = 448  # pixels of a picture, at least


def write_pictures(folder: Path, model: Any, x: Array, shown: Array, target: int | None) -> list[str]:
    """Write image.png, saliency.png, occlusion.png, gradcam.png and filters.png; returns their paths.

    x: the image (1, C, H, W) as the model takes it; shown: the same as it is drawn, (1 or 3, H, W) in [0, 1].
    """
    from PIL import Image

    from .. import nn
    from ..inspect import filter_pictures, gradcam, occlusion, saliency

    folder.mkdir(parents=True, exist_ok=True)
    convs = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    image = np.repeat(shown, 3, axis=0) if len(shown) == 1 else shown
    pictures = {
        "image": image,
        "saliency": overlay(image, saliency(model, x, target)),
        "occlusion": overlay(image, np.maximum(occlusion(model, x, target), 0)),
    }
    if convs:
        last, first = convs[-1][0], convs[0][1]
        pictures["gradcam"] = overlay(image, gradcam(model, x, last, target))
        pictures["filters"] = sheet(filter_pictures(first))
    paths = []
    for name, picture in pictures.items():
        levels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
        times = max(1, -(-SIDE // max(levels.shape[:2])))
        paths.append(str(folder / f"{name}.png"))
        Image.fromarray(levels.repeat(times, axis=0).repeat(times, axis=1)).save(paths[-1])
    return paths


def overlay(image: Array, heat: Array) -> Array:
    """(3, H, W): the image in dim grey, the map over it from dark red to yellow; its largest value is full colour."""
    most = float(heat.max(initial=0.0))
    share = heat / most if most > 0 else np.zeros_like(heat)
    colour = np.stack([np.minimum(1, 2 * share), np.clip(2 * share - 0.6, 0, 1), np.zeros_like(share)])
    cover = np.sqrt(share)[np.newaxis]
    return (1 - cover) * 0.6 * image.mean(axis=0, keepdims=True) + cover * colour


def sheet(filters: Array) -> Array:
    """(3, H, W): filters (F, C, kh, kw) in rows of 8, colour where C is 3, else plane by plane, on white."""
    planes = filters if filters.shape[1] == 3 else filters.reshape(-1, 1, *filters.shape[2:])[: 8 * 32]
    count, channels, height, width = planes.shape
    rows = -(-count // 8)
    page = np.ones((3, rows * (height + 1) + 1, 8 * (width + 1) + 1), np.float32)
    for place, plane in enumerate(planes):
        top, left = place // 8 * (height + 1) + 1, place % 8 * (width + 1) + 1
        page[:, top : top + height, left : left + width] = plane if channels == 3 else plane[:1]
    return page
