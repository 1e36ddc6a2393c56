"""Sets of labelled images: one file a set, and `ImageSet`, which they all are.

To add one, write such a file, list it here, and give it a card in top-level `datasets/`.
"""

from hierforecast.image_ssl.data._decoding import FileImages, UnreadableImageWarning
from hierforecast.image_ssl.data.arrays import ArrayImages, ImageSet, as_float, collate
from hierforecast.image_ssl.data.cifar10 import load_cifar10
from hierforecast.image_ssl.data.folder import ImageFolder, INaturalist
from hierforecast.image_ssl.data.shapes import RenderedShapes
from hierforecast.image_ssl.data.voc2007 import load_voc2007

__all__ = [
    "ArrayImages",
    "FileImages",
    "INaturalist",
    "ImageFolder",
    "ImageSet",
    "RenderedShapes",
    "UnreadableImageWarning",
    "as_float",
    "collate",
    "load_cifar10",
    "load_voc2007",
]
