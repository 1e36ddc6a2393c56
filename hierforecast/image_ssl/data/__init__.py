"""Sets of labelled images: one file a set, and `ImageSet`, which they all are.

Two kinds of sets know more. A `PosedSet` is an `ImageSet` of several views of each object: item i
is view i % views of object i // views, ``parameters(indices)`` gives pose and light of the
images, and ``pairs(indices, generator)`` gives two views each with what changes between them. A
`MaskSet` gives an image with the class of every pixel, its `classes` and which one is `ignored`.

To add one, write such a file, list it here, and give it a card in top-level `datasets/`.
"""

from hierforecast.image_ssl.data._files import FileImages, UnreadableImageWarning
from hierforecast.image_ssl.data.ade20k import ADE20K
from hierforecast.image_ssl.data.arrays import ArrayImages, ImageSet, as_float, collate
from hierforecast.image_ssl.data.cifar10 import load_cifar10
from hierforecast.image_ssl.data.folder import ImageFolder, INaturalist
from hierforecast.image_ssl.data.objects import RenderedObjects
from hierforecast.image_ssl.data.rotations import relative_rotation
from hierforecast.image_ssl.data.shapes import RenderedShapes, ShapeMasks
from hierforecast.image_ssl.data.threedie import ThreeDIEBench
from hierforecast.image_ssl.data.views import (
    MaskSet,
    PosedImages,
    PosedPairs,
    PosedSet,
    relative_parameters,
)
from hierforecast.image_ssl.data.voc2007 import load_voc2007

__all__ = [
    "ADE20K",
    "ArrayImages",
    "FileImages",
    "INaturalist",
    "ImageFolder",
    "ImageSet",
    "MaskSet",
    "PosedImages",
    "PosedPairs",
    "PosedSet",
    "RenderedObjects",
    "RenderedShapes",
    "ShapeMasks",
    "ThreeDIEBench",
    "UnreadableImageWarning",
    "as_float",
    "collate",
    "load_cifar10",
    "load_voc2007",
    "relative_parameters",
    "relative_rotation",
]
