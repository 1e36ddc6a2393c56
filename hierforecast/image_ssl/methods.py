"""Ways of learning by name: backbone + heads + objective + views, in three arms.

The arms of arXiv 2303.04427, Table 1, differ in two choices and nothing else: the group of the
backbone and the group that its head respects.

| arm | backbone | head |
|---|---|---|
| plain | C1 | C1 |
| consistent: equivariant model, consistent labels or loss | the group | the group |
| inconsistent: equivariant model, ordinary labels or loss | the group | C1 |

As many weights in every arm are two choices as well: of the backbone's width (``match`` of
`small_resnet`) and of the head's (``match_head`` of `build_method`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn

from hierforecast._options import choice, number, whole
from hierforecast.image_ssl.contrastive import LEARNERS
from hierforecast.image_ssl.groups import Group, GroupLike, as_group
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.objective import Method, Setting
from hierforecast.image_ssl.pretext import ContextPrediction, Jigsaw, RotationPrediction
from hierforecast.image_ssl.split import SIE, ParameterRegression, Reconstruction, Supervised
from hierforecast.image_ssl.views import Poses

ARMS = ("plain", "consistent", "inconsistent")
# An objective is a class in a file of its own; here it gets its name.
METHODS: dict[str, Any] = {
    "context": ContextPrediction,
    "jigsaw": Jigsaw,
    "rotation": RotationPrediction,
    **LEARNERS,
    "reconstruction": Reconstruction,
    "sie": SIE,
    "regression": ParameterRegression,
    "supervised": Supervised,
}


def arm(name: str, group: GroupLike = "C4") -> tuple[Group, Group]:
    """The group of an arm's backbone and the group of its head."""
    group, trivial = as_group(group), Group("C1")
    arms = (trivial, trivial), (group, group), (group, trivial)
    return choice("arm", name, dict(zip(ARMS, arms, strict=True)))


def build_method(
    name: str,
    backbone: ResNet,
    head_group: GroupLike | None = None,
    *,
    symmetry: GroupLike = "C4",
    size: int = 33,
    width: int = 128,
    match_head: ResNet | None = None,
    **options: object,
) -> Method:
    """A way of learning by its name, with heads and views that suit images of a size.

    Args:
        name: one of `METHODS`.
        head_group: that the head respects, the backbone's if None; see `arm`.
        symmetry: the group that the pretext labels are closed under: the same for every arm of a
            comparison, so that all answer the same question.
        width: hidden channels of the head, and numbers of the vectors that a loss compares.
        match_head: the backbone of a plain arm. The head then has as many hidden channels as give
            it the number of weights that a head of `width` has after that one; vectors keep their
            `width` numbers. Without it, a head that keeps a symmetry has two to three times the
            weights of a plain one. Not for methods of split features.
        options: as `options_of` lists them: of the class `METHODS` names and of its `build`; for
            ``"supervised"``, `classes` is needed. `augment` is a `Transformation`; with
            ``augment=Poses()`` a method learns from pairs of views of a `PosedSet` instead.

    Raises:
        ValueError: for an unknown name, poses for a method of single images, or a matched head
            for a method of split features.
    """
    made, known = choice("method", name, METHODS), options_of(name)
    if isinstance(options.get("augment"), Poses) and not made.posed:
        able = (name for name, one in METHODS.items() if one.posed)
        raise ValueError(f"{name} learns from single images; from poses: {', '.join(able)}")
    size, width = whole("size", size), whole("width", width)
    given = {key: _plain(key, value, known) for key, value in options.items()}
    build = partial(made.build, **given)
    setting = Setting(backbone, head_group, as_group(symmetry), size, width, width)
    if match_head is not None:
        setting = _matched(name, build, setting, match_head)
    return build(setting)


def _matched(
    name: str, build: Callable[[Setting], Method], setting: Setting, plain: ResNet
) -> Setting:
    """The setting whose head has the weights that one after a plain backbone has."""

    def count(hidden: int) -> int:
        return head_weights(build(replace(setting, hidden=hidden)))

    with torch.random.fork_rng(devices=[]):  # counting draws no weights of the method's
        if count(1) == count(2):
            raise ValueError(f"heads of {name} cannot be matched: leave match_head out")
        wanted = head_weights(build(replace(setting, backbone=plain, head=plain.group)))
        return replace(setting, hidden=_nearest(count, wanted, range(1, 16 * setting.width)))


def head_weights(method: nn.Module) -> int:
    """Trained weights of a method that are not its backbone's."""
    backbone = method.get_submodule("backbone")
    return _trained(method) - _trained(backbone)


def _trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _nearest(count: Callable[[int], int], wanted: int, among: range) -> int:
    """The number for which an increasing count comes nearest."""
    above = min(among[bisect_left(among, wanted, key=count)], among[-1])
    return min((max(above - 1, among[0]), above), key=lambda n: abs(count(n) - wanted))


def options_of(name: str) -> dict[str, Parameter]:
    """The options of a method, with their defaults: those of its class, and of its `build`."""
    made = METHODS[name]
    given = {**signature(made).parameters, **signature(made.build).parameters}
    return {
        key: one
        for key, one in given.items()
        if key != "group" and (one.kind is one.KEYWORD_ONLY or one.default is not one.empty)
    }


def _plain(name: str, value: object, known: dict[str, Parameter]) -> object:
    """An option as a plain number, where it must be one."""
    kind = known[name].annotation if name in known else None
    if kind == "int":
        return whole(name, value, 0)
    return number(name, value) if kind == "float" else value
