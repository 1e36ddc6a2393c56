"""What the tests of the image room share."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest


@pytest.fixture
def figures_closed() -> Iterator[None]:
    """No figure of a test stays open."""
    yield
    plt.close("all")
