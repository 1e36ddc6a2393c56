"""Self-supervised learning of images with group-equivariant networks.

A network that commutes with a group, ``f(act(a, x)) == act(a, f(x))``, can only learn from labels
that move with the image, or by a loss that does not change when the image is turned
(Mukuta and Harada, arXiv 2303.04427). The rooms, in the order in which images walk through them::

    data/         sets of images: rendered shapes and posed objects, CIFAR-10, folders, 3DIEBench
    augment/      views, and the parameters that were drawn
    groups.py     turns and mirror images, and how they move images, features and labels
    nn/           group convolutions, residual networks, heads
    views.py      two views of each image: what every objective is given, and how they are drawn
    objective.py  what an objective is, and the method that it makes with a source of views
    pretext/      labels that move with the image: context, jigsaw, rotation
    contrastive/  losses that need no labels: MoCo, SwAV, SimSiam, VICReg
    split/        invariant and equivariant halves: reconstruction by cross-attention, SIE
    methods.py    methods by name, and the three arms of a comparison
    batches.py    endless batches, each from its number
    training.py   any method on Lightning
    storage.py    a backbone in a folder
    evaluation/   what frozen features are worth
    plot/         pictures of images, features and comparisons
    cli/          ``hierforecast ssl``

Nothing here knows the forecasting rooms, and they do not import this one.
"""

from hierforecast.image_ssl.groups import Group
from hierforecast.image_ssl.methods import ARMS, METHODS, arm, build_method
from hierforecast.image_ssl.nn import ResNet, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.storage import load_backbone, save_backbone
from hierforecast.image_ssl.training import Schedule, pretrain

__all__ = [
    "ARMS",
    "METHODS",
    "Group",
    "ResNet",
    "Schedule",
    "arm",
    "build_method",
    "load_backbone",
    "pretrain",
    "resnet18",
    "resnet50",
    "save_backbone",
    "small_resnet",
]
