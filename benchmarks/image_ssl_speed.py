"""What a group convolution costs beside a plain one of the same arithmetic; whole ResNet-50s."""

from __future__ import annotations

from functools import partial
from time import perf_counter, process_time

import pandas as pd
import torch
from torch import nn

from benchmarks.experiment import one_table
from benchmarks.timing import MODES, interleave
from hierforecast.image_ssl.groups import as_group
from hierforecast.image_ssl.nn import GroupConv2d, resnet50

# (images, channels x group size, pixels along a side): the stages of a small network on 33 x 33,
# and those of a ResNet-18 of ImageNet.
SIZES = ((128, 64, 33), (128, 128, 17), (128, 256, 9), (16, 64, 57), (16, 256, 15), (16, 512, 8))
GROUPS = ("C4", "D4")
GOAL = 1.15


def pair(group: str, channels: int) -> dict[str, nn.Module]:
    """A group convolution, and the plain one that multiplies and adds as often."""
    own = channels // as_group(group).order
    turned = GroupConv2d(own, own, group, 3, padding=1, bias=False)
    return {"group": turned, "plain": nn.Conv2d(channels, channels, 3, padding=1, bias=False)}


def costs(rounds: int, sizes: tuple[tuple[int, int, int], ...] = SIZES) -> pd.DataFrame:
    """Time of group convolutions relative to plain ones, a row a size."""
    table: dict[str, dict[str, str]] = {}
    for batch, channels, side in sizes:
        row = table.setdefault(f"{batch} images, {channels} channels, {side} x {side}", {})
        for group in GROUPS:
            layers = pair(group, channels)
            x = torch.randn(batch, channels, side, side)
            shaped = x.unflatten(1, (-1, as_group(group).order))
            for mode, arm in MODES.items():
                arms = {"group": arm(layers["group"], shaped), "plain": arm(layers["plain"], x)}
                ratio = interleave(arms, rounds).ratio("group", "plain")
                row[f"{group}, {mode}"] = f"{ratio:.3f}"
    return pd.DataFrame(table).T


def networks(rounds: int, side: int = 225) -> pd.DataFrame:
    """Images per second of ResNet-50s in training, a row a network."""
    on_gpu = torch.cuda.is_available()
    device, batch = ("cuda", 64) if on_gpu else ("cpu", 2)
    images = torch.randn(batch, 3, side, side, device=device)
    plans = {
        "plain": ("C1", None),
        "C4, as many weights": ("C4", "parameters"),
        "C4, as much arithmetic": ("C4", "compute"),
        "D4, as many weights": ("D4", "parameters"),
        "D4, as much arithmetic": ("D4", "compute"),
    }
    found = {
        name: resnet50(group, match=match).to(device) for name, (group, match) in plans.items()
    }

    def step(network: nn.Module) -> None:
        network.zero_grad()
        network(images).square().mean().backward()
        if on_gpu:
            torch.cuda.synchronize()

    arms = {name: partial(step, network) for name, network in found.items()}
    timings = interleave(arms, rounds, clock=perf_counter if on_gpu else process_time)
    rows = {
        name: {
            "weights": f"{sum(p.numel() for p in network.parameters()):,}",
            "images per second": f"{batch / timings.median(name):.2f}",
            "time, relative to plain": f"{timings.ratio(name, 'plain'):.2f}",
        }
        for name, network in found.items()
    }
    return pd.DataFrame(rows).T


EXPERIMENTS = {
    "image-ssl-speed": one_table(
        "image-ssl-speed",
        "image_ssl",
        "Image SSL: cost of a group convolution",
        costs,
        "Time of a 3 x 3 group convolution relative to a plain one with as many channels in "
        "all, median over {rounds} interleaved rounds, processor time of one thread. "
        f"Goal {GOAL}. Filters are expanded in every pass, as in training.",
        rounds=15,
    ),
    "image-ssl-networks": one_table(
        "image-ssl-networks",
        "image_ssl",
        "Image SSL: ResNet-50s in training",
        networks,
        "Forward and backward of ResNet-50, images of 225 x 225, on the GPU if there is one, else "
        "on one thread; the processor's seconds there.",
        rounds=3,
    ),
}
