"""Objectives of two views: how they are built, and what is refused then."""

import inspect

import pytest
import torch
from torch import nn

from hierforecast.image_ssl.contrastive import LEARNERS, MoCo, SimSiam, SwAV, ViewObjective
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.views import Views


@pytest.mark.parametrize("made", LEARNERS.values())
def test_a_projector_of_another_backbone_is_refused(made):
    small, large = ResNet("C4", (1,), 2, image_size=9), ResNet("C4", (1,), 3, image_size=9)
    with pytest.raises(ValueError, match="for this very backbone"):
        made(large, Projector(small))
    with pytest.raises(ValueError, match="must give vectors"):
        made(small, nn.Identity())


def test_building_leaves_the_projectors_mode():
    backbone = ResNet("C4", (1,), 2, image_size=9)
    projector = Projector(backbone, (4, 3))
    projector.layers.eval()
    SimSiam(backbone, projector)
    assert projector.training
    assert not any(module.training for module in projector.layers.modules())


@pytest.mark.parametrize(
    ("made", "setting"),
    [
        (MoCo, {"momentum": -0.1}),
        (MoCo, {"queue_size": 0}),
        (MoCo, {"temperature": 0.0}),
        (SimSiam, {"predictor_width": 0}),
        (SwAV, {"prototypes": 0}),
        (SwAV, {"epsilon": 0.0}),
        (SwAV, {"iterations": 0}),
        (SwAV, {"temperature": -1.0}),
        (SwAV, {"queue_size": -1}),
    ],
)
def test_settings_out_of_range_are_refused_when_built(made, setting):
    ((name, value),) = setting.items()
    # A queue and prototypes name their own arguments.
    name = {"queue_size": "size", "prototypes": "k"}.get(name, name)
    with pytest.raises(ValueError, match=f"{name}={value}"):
        backbone = ResNet("C4", (1,), 2, image_size=9)
        made(backbone, Projector(backbone, (4, 3)), **setting)


@pytest.mark.parametrize("made", LEARNERS.values())
def test_constructors_are_small_and_keyword_only(made):
    parameters = inspect.signature(made).parameters
    assert len(parameters) < 10
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])
    assert not {"group", "invariant", "equivariant"} & set(parameters)  # arms are composed
    assert issubclass(made, ViewObjective)


def test_a_method_must_say_how_it_compares():
    backbone = ResNet("C1", (1,), 2, image_size=9)
    with pytest.raises(NotImplementedError, match="ViewObjective must define compare"):
        ViewObjective(backbone, Projector(backbone)).loss(Views(*torch.rand(2, 4, 3, 9, 9)))
