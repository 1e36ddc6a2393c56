"""The losses of every method, arm and setting, as they were recorded: whoever rebuilds keeps them.

``python -m tests.image_ssl.test_golden`` records them anew, where a change of numbers is meant.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hierforecast.image_ssl.augment import contrastive
from hierforecast.image_ssl.data import ArrayImages, RenderedObjects
from hierforecast.image_ssl.methods import ARMS, METHODS, arm, build_method
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.split import Poses, every_kind
from hierforecast.image_ssl.training import Schedule, pretrain

RECORDED = Path(__file__).parent.parent / "golden" / "losses.json"
DECODER = {"dim": 8, "heads": 2, "layers": 1}
# What each method needs to be small; those that cut tiles need images of several.
QUICK = {
    "context": {"size": 21},
    "jigsaw": {"size": 21, "count": 16},
    "moco": {"queue_size": 16},
    "swav": {"prototypes": 6, "frozen_steps": 1},
    "supervised": {"classes": 3},
    "reconstruction": {"decoder": DECODER},
}
# Settings beyond the defaults: name of a method, then its options.
SETTINGS = {
    "sie rotation": {"fed": "rotation"},
    "sie one at a time": {"fed": "one at a time"},
    "sie known": {"known": 0.5},
    "sie split group": {"split": "group"},
    "sie split": {"split": 0.25, "invariance": 1.0, "equivariance": 3.0, "predictor_variance": 2.0},
    "regression color": {"fed": "color", "known": 0.5},
    "reconstruction between": {"between": True},
    "reconstruction maps": {"tokens": "maps", "error": "whitened", "weight": 2.0},
    "reconstruction moco": {"learner": "moco", "queue_size": 16},
    "reconstruction swav": {"learner": "swav", "prototypes": 6, "frozen_steps": 1},
    "reconstruction simsiam": {"learner": "simsiam"},
    "reconstruction split group": {"split": "group"},
    "swav queue": {"queue_size": 16},
    "moco recipe": {"augment": every_kind(9)},
    "vicreg recipe": {"augment": contrastive(9), "covariance": 3.0},
    "simsiam predictor": {"predictor_width": 5},
    "jigsaw four tiles": {"grid": 2, "count": 8},
    "supervised recipe": {"augment": contrastive(9)},
}
POSED = {
    **{name: {} for name in ("moco", "swav", "simsiam", "vicreg", "reconstruction", "sie")},
    "regression": {"fed": "pose"},
    "sie pose known": {"fed": "pose", "known": 0.5},
    "sie light": {"fed": "light"},
    "sie hue group": {"fed": "hue", "split": "group"},
}
CASES = [
    *[f"{name}, {which}" for name in METHODS for which in ARMS],
    *[f"{name}, setting" for name in SETTINGS],
    *[f"{name}, posed" for name in POSED],
]


def losses(case):
    """Three losses of a short training: each depends on all that the steps before it did."""
    name, which = case.split(", ")
    group, head = arm(which if which in ARMS else "consistent")
    posed = which == "posed"
    options = POSED[name] if posed else SETTINGS[name] if which == "setting" else {}
    method = name.split()[0]
    options = {"size": 9, **QUICK.get(method, {}), **options}
    size = options["size"]
    if posed:
        options["augment"] = Poses()
        images = RenderedObjects(8, 3, size=size).in_memory()
    else:
        made = torch.Generator().manual_seed(1)
        pixels = torch.randint(0, 256, (24, 3, size, size), generator=made, dtype=torch.uint8)
        images = ArrayImages(pixels, torch.arange(24) % 3, ["a", "b", "c"])
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 4, image_size=5 if size == 21 else size)
    learning = build_method(method, backbone, head, width=8, **options)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    curve = pretrain(learning, images, Schedule(3, batch_size=8), trainer=quiet)
    return curve["loss"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_losses_are_as_recorded(case):
    """Roundings of two processors differed by up to 5e-5 of a loss after three steps."""
    recorded = json.loads(RECORDED.read_text())
    assert losses(case) == pytest.approx(recorded[case], rel=1e-4, abs=1e-6)


def test_every_recorded_case_is_run():
    assert set(json.loads(RECORDED.read_text())) == set(CASES)


if __name__ == "__main__":
    RECORDED.write_text(json.dumps({case: losses(case) for case in CASES}, indent=0) + "\n")
