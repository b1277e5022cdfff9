"""minicnn eval resnet18 --weights W --data DIR: published weights on a folder of photographs."""

import argparse
from typing import Any

from .output import percent, print_json
from .photos import labelled_photos, with_progress
from .pretrained import open_pretrained

BATCH = 32


def run(args: argparse.Namespace) -> int:
    if args.data is None:
        raise ValueError("--data DIR is needed: folders named by wnid or class, or files whose names begin with a wnid")
    if args.confusion or args.output:
        raise ValueError("--confusion and --output: only for a checkpoint of minicnn train or finetune")
    if args.weights is None:
        raise ValueError(f"{args.checkpoint}: --weights FILE is needed")
    subject = open_pretrained(args.weights, args.checkpoint)
    photos = labelled_photos(args.data, subject)
    figures = measure(subject.compiled(min(BATCH, len(photos))), with_progress(photos.batches(BATCH), "eval"))
    if args.json:
        print_json({"model": subject.name, "weights": args.weights, "data": args.data, **figures})
    else:
        print(
            f"{figures['images']} images: loss {figures['loss']:.4f}, top-1 {percent(figures['accuracy'])}, "
            f"top-5 {percent(figures['top5'])}"
        )
    return 0


def measure(model: Any, batches: Any) -> dict[str, float]:
    """{"images", "loss", "accuracy", "top5"} over the batches, of which none is kept."""
    from .. import functional as F
    from ..training.trainer import correct

    images, loss, first, five = 0, 0.0, 0, 0
    for x, target in batches:
        logits = model(x)
        hits = correct(logits, target)
        images, first, five = images + len(x), first + hits[0], five + hits[1]
        loss += float(F.cross_entropy(logits, target, reduction="sum")[0])
    return {"images": images, "loss": loss / images, "accuracy": first / images, "top5": five / images}
