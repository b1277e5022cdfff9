"""Batches where the model computes: for a model on the GPU each is copied there while the one before is trained on."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..backends.places import is_array

Batches = Iterable[tuple[Any, Any]]


def batches_for(model: Any, loader: Batches) -> Batches:
    """The loader itself for a model in main memory; for one on the GPU its batches with x copied there, one ahead.

    Targets stay in main memory: a loss checks them there, without waiting for the GPU, before it copies them.
    """
    first = next(iter(model.parameters()), None)
    return loader if first is None or isinstance(first.data, np.ndarray) else _copied_ahead(loader)


def _copied_ahead(loader: Batches) -> Iterator[tuple[Any, Any]]:
    """Copies run on a stream of their own from pinned memory, so that they overlap with the kernels of the other.

    An array is allocated in the order of the stream that computes, which had it last; so the copy begins after all
    work before the step that it overlaps with. Pinned memory is let go of when its copy is over.
    """
    import cupy
    import cupyx

    copying = cupy.cuda.Stream(non_blocking=True)
    under_way: deque = deque()  # (x on the GPU, target, when it has arrived, the pinned memory)

    def start(x: Any, target: Any) -> None:
        computing = cupy.cuda.get_current_stream()
        pinned = cupyx.empty_pinned(x.shape, x.dtype)
        pinned[...] = x
        on_gpu = cupy.empty(x.shape, x.dtype)
        copying.wait_event(computing.record())
        on_gpu.set(pinned, stream=copying)
        under_way.append((on_gpu, target, copying.record(), pinned))

    arrived: Any = None
    try:
        for x, target in loader:
            if is_array(x) and not isinstance(x, np.ndarray):
                yield x, target  # the loader has its batches there already
                continue
            start(x, target)
            if len(under_way) < 2:
                continue
            arrived = _take(under_way, arrived)
            yield arrived[0], arrived[1]
        while under_way:
            arrived = _take(under_way, arrived)
            yield arrived[0], arrived[1]
    finally:
        copying.synchronize()  # whoever stops early must not leave copies from memory that is free again


def _take(under_way: deque, before: Any) -> Any:
    """The next batch, which the computing stream waits for; the pinned memory of the one before may go."""
    import cupy

    if before is not None:
        before[2].synchronize()
    batch = under_way.popleft()
    cupy.cuda.get_current_stream().wait_event(batch[2])
    return batch
