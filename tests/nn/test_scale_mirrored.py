"""The mirrored scale: a scene and its mirror image look the same, and in the seam both count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hierforecast.batch import SceneBatch
from hierforecast.nn.coordinates import CoordinateScale
from hierforecast.nn.scaled import fill_gaps
from hierforecast.nn.views import Scale
from tests.nn.scales import fitted, make_batch


@pytest.mark.parametrize("mirror", [(-1, 1), (1, -1), (-1, -1)])
def test_a_scene_and_its_mirror_image_look_the_same(mirror):
    batch = make_batch()
    scale, mirror = fitted("mirrored", batch), torch.tensor(mirror, dtype=torch.float64)
    turned = scale.center + mirror * (batch.values - scale.center)
    image = replace(batch, values=torch.where(batch.present[..., None], turned, 0.0))
    one, two = scale(batch), scale(image)
    torch.testing.assert_close(one.relative, two.relative, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.absolute, two.absolute, rtol=0, atol=1e-12)
    assert torch.equal(one.scale * mirror, two.scale)
    torch.testing.assert_close(
        scale.center + mirror * (one.loc - scale.center), two.loc, rtol=0, atol=1e-12
    )
    plain = fitted("coordinates", batch)  # without the mirror, the images differ
    assert (plain(batch).absolute - plain(image).absolute).abs().max() > 0.1


def middles(scale: Scale, batch: SceneBatch) -> torch.Tensor:
    """Where the series of each scene were last seen, from the center, by hand."""
    _, last = fill_gaps(batch.values, batch.present)
    seen = batch.present.any(1)
    return torch.stack(
        [
            (last[:, 0] - scale.center)[(batch.scene == scene) & seen].mean(0)
            for scene in range(batch.n_scenes)
        ]
    )


def test_a_fifth_of_the_training_scenes_lies_in_the_seam():
    batch = make_batch()
    scale = fitted("mirrored", batch)
    wanted = np.quantile(middles(scale, batch).abs().numpy(), 0.2, axis=0)
    np.testing.assert_allclose(scale.seam, wanted, rtol=1e-12)
    gone = replace(batch, present=batch.present & (batch.scene > 0)[:, None])
    assert fitted("mirrored", gone).seam.isfinite().all()


def test_the_images_of_a_scene_are_weighed_by_where_it_lies():
    batch = make_batch()
    scale = fitted("mirrored", batch)
    scale.seam.copy_(1.5 * middles(scale, batch).abs().amax(0))
    views = scale.views(batch)
    positive = (1 + middles(scale, batch) / scale.seam) / 2
    scene, weight = views.mixed.scene_of, views.mixed.logits.exp()
    assert scene.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for view in range(len(scene)):
        rows = views.batch.scene == view
        side = views.scaled.scale[rows].sign()
        assert (side == side[0]).all()
        wanted = torch.where(side[0, 0] > 0, positive[scene[view]], 1 - positive[scene[view]])
        torch.testing.assert_close(weight[view], wanted.prod())
        at = views.mixed.row_of[rows]
        plain = CoordinateScale.forward(scale, batch)
        torch.testing.assert_close(views.scaled.absolute[rows], plain.absolute[at] * side)
        torch.testing.assert_close(views.scaled.relative[rows], plain.relative[at] * side)


def test_training_draws_images_as_often_as_their_weights_say():
    batch = make_batch()
    scale = fitted("mirrored", batch).train()
    scale.seam.copy_(1.5 * middles(scale, batch).abs().amax(0))
    scale.generator = torch.Generator().manual_seed(0)
    first = [int((batch.scene == scene).nonzero()[0]) for scene in range(batch.n_scenes)]
    drawn = torch.stack([scale.drawn(batch).scale[first, 0].sign() for _ in range(4000)])
    positive = (1 + middles(scale, batch) / scale.seam) / 2
    assert ((drawn > 0).double().mean(0) - positive).abs().max() < 0.04
    likeliest = scale(batch)
    assert torch.equal(likeliest.scale[first, 0].sign(), torch.where(positive < 0.5, -1.0, 1.0))
    assert torch.equal(scale.eval().drawn(batch).scale, likeliest.scale)


def test_weights_saved_before_there_was_a_seam_keep_the_hard_choice():
    batch = make_batch()
    scale = fitted("mirrored", batch)
    scale.seam.fill_(30.0)
    before = {name: x for name, x in scale.state_dict().items() if name != "seam"}
    scale.load_state_dict(before)
    assert not scale.seam.any()
    views = scale.views(batch)
    assert views.batch is batch and views.mixed is None
    side = torch.where(middles(scale, batch) < 0, -1.0, 1.0)[batch.scene]
    assert torch.equal(views.scaled.scale[:, 0].sign(), side.double())
    assert torch.equal(scale.train().drawn(batch).scale, views.scaled.scale)


def test_every_scene_of_a_batch_is_mirrored_on_its_own():
    batch = make_batch(missing=0.0)
    scale = fitted("mirrored", batch)
    scaled = scale(batch)
    for scene in range(batch.n_scenes):
        rows = batch.scene == scene
        side = scaled.scale[rows].sign().unique(dim=0)
        assert len(side) == 1
        last = (batch.values[rows][:, -1] - scale.center).mean(0) * side[0, 0]
        assert (last > 0).all()
    assert len(scaled.scale.sign().unique(dim=0)) > 1
