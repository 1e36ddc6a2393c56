"""A dense probe: which class each pixel shows, told by a linear map of frozen feature maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, as_float
from hierforecast.image_ssl.data.views import MaskSet
from hierforecast.image_ssl.evaluation.features import run_backbone
from hierforecast.image_ssl.evaluation.segmentation import (
    DenseScore,
    confusion_of,
    judged_pixels,
)
from hierforecast.image_ssl.nn.backbone import Backbone

# Feature maps (b, c, g, h, w) to (b, d, h, w).
MapPool: TypeAlias = Callable[[Tensor], Tensor]


def flatten_maps(x: Tensor) -> Tensor:
    """Equivariant maps: (b, c, g, h, w) to (b, c * g, h, w)."""
    return x.flatten(1, 2)


def average_maps(x: Tensor) -> Tensor:
    """Maps averaged over the group: (b, c, g, h, w) to (b, c, h, w)."""
    return x.mean(dim=2)


def dense_probe(
    backbone: Backbone,
    train_set: MaskSet,
    test_set: MaskSet,
    pool: MapPool = flatten_maps,
    *,
    epochs: int = 20,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    prepare: Callable[[Tensor], Tensor] = as_float,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> DenseScore:
    """Teach one linear map of each place's features on the training masks; judge it on the test's.

    Channels are standardised by their mean and deviation over all places. The class scores of the
    places are brought to the size of the image, bilinear, and the cross entropy is the mean over
    judged pixels. AdamW, its rate falling to 0 along a half cosine.

    Args:
        backbone: with `maps`, images (b, 3, h, w) to (b, c, g, h', w'); left as it was, bit for
            bit. All maps of a set are held in memory.
        train_set: images of one size with their masks.
        test_set: of the same classes; its `ignored` pixels are not judged, and that class, if it
            is one, is never predicted.
        pool: `flatten_maps`, `average_maps` or another.
        epochs, learning_rate, weight_decay: of the training.
        batch_size: images at a time, in training and before.
        seed: of the order of the training images.
        prepare, device, progress: as for `collect_features`; the probe learns on the CPU.

    Raises:
        DataError: if a set is empty, the classes differ, masks are not as large as the images that
            the network sees, no pixel is judged, or a feature is NaN or infinite.
    """
    kinds = [(tuple(each.classes), each.ignored) for each in (train_set, test_set)]
    if kinds[0] != kinds[1]:
        raise DataError("training and test set have other classes: give the same to both")
    (names, ignored), sets = kinds[0], []
    for images in (train_set, test_set):
        maps, masks = run_backbone(
            _Maps(backbone),
            cast(ImageSet, images),  # whose labels it hands on as they are: here, masks
            pool,
            prepare=prepare,
            batch_size=batch_size,
            device=device,
            progress=progress,
        )
        _check(maps, masks, tuple(prepare(images[0][0][None]).shape[2:]), ignored)
        sets.append((maps, masks))
    probe = _Linear(*sets[0], len(names), ignored)
    probe.learn(epochs, learning_rate, weight_decay, batch_size, seed)
    confusion = torch.zeros(len(names), len(names), dtype=torch.int64)
    for maps, masks in zip(*(each.split(batch_size) for each in sets[1]), strict=True):
        with torch.no_grad():
            predicted = probe.scores(maps).argmax(dim=1)
        confusion += confusion_of(predicted, masks, len(names), ignored)
    return DenseScore(confusion, names)


class _Maps(nn.Module):
    """A backbone that answers with its maps."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.maps(images)


class _Linear:
    """A linear map of maps (n, d, h', w') to class scores, as large as masks (n, h, w)."""

    def __init__(self, maps: Tensor, masks: Tensor, classes: int, ignored: int | None) -> None:
        self.maps, self.masks, self.ignored = maps, masks, ignored
        self.size = (masks.shape[1], masks.shape[2])
        variance, self.mean = torch.var_mean(maps, dim=(0, 2, 3), correction=0)
        dead = 1e-5 * maps.abs().amax(dim=(0, 2, 3)).clamp_min(1e-30)  # varies by rounding only
        self.scale = variance.sqrt().clamp_min(dead)
        self.weight = torch.zeros(classes, maps.shape[1], requires_grad=True)
        self.bias = torch.zeros(classes, requires_grad=True)
        self.closed = torch.zeros(classes)
        if ignored is not None and ignored < classes:
            self.closed[ignored] = -torch.inf

    def scores(self, maps: Tensor) -> Tensor:
        rows = torch.einsum("bdhw,kd->bkhw", maps, self.weight / self.scale)
        shift = self.bias - self.weight @ (self.mean / self.scale) + self.closed
        return _enlarge(rows, self.size) + shift[:, None, None]

    def learn(self, epochs: int, rate: float, decay: float, batch_size: int, seed: int) -> None:
        optimizer = torch.optim.AdamW([self.weight, self.bias], rate, weight_decay=decay)
        steps = max(1, epochs * -(-len(self.maps) // batch_size))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        generator = torch.Generator().manual_seed(seed)
        skipped = -100 if self.ignored is None else self.ignored
        for _ in range(epochs):
            order = torch.randperm(len(self.maps), generator=generator)
            for rows in order.split(batch_size):
                truth = self.masks[rows].long()
                if not judged_pixels(truth, self.ignored).any():
                    continue
                optimizer.zero_grad()
                with torch.enable_grad():
                    found = self.scores(self.maps[rows])
                    F.cross_entropy(found, truth, ignore_index=skipped).backward()
                optimizer.step()
                schedule.step()


def _enlarge(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores (b, k, h', w') at the size of the image, bilinear.

    Where an odd image was sampled at pixels 0, s, 2 s, ... to its far edge, as exact networks do,
    the corners of the map lie on the middles of the corner pixels; otherwise edges lie on edges.
    """
    sides = zip(size, scores.shape[-2:], strict=True)
    sampled = all(small > 1 and (large - 1) % (small - 1) == 0 for large, small in sides)
    return F.interpolate(scores, size, mode="bilinear", align_corners=sampled)


def _check(maps: Tensor, masks: Tensor, size: tuple[int, ...], ignored: int | None) -> None:
    if maps.ndim != 4:
        raise DataError(f"pooled maps are {tuple(maps.shape)}: a pool gives (b, d, h, w)")
    if masks.ndim != 3 or tuple(masks.shape[1:]) != size:
        raise DataError(
            f"masks are {tuple(masks.shape[1:])}, the images that the network sees {size}: give "
            "masks of the images' size, and crop both before, not in `prepare`"
        )
    if not maps.isfinite().all():
        raise DataError("feature maps are NaN or infinite: did the network's training diverge?")
    if not judged_pixels(masks, ignored).any():
        raise DataError(f"all pixels of all masks are {ignored}, which is ignored: none is judged")
