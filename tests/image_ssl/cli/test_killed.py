"""A reconstruction that the system kills half-way, and that goes on."""

from __future__ import annotations

import pytest
import torch

from hierforecast._lightning import LAST
from hierforecast.image_ssl.storage import load_backbone, read_made_by
from tests.image_ssl.cli.calling import call
from tests.killing import kill_after_a_checkpoint

STEPS = 2000
FIT = "pretrain net --method reconstruction --arm plain --size 9 --images 24 --batch-size 8"
FIT += " --width 2 --head-width 4 --checkpoints folder"
KILLED = f"""
    from typer.testing import CliRunner
    from hierforecast.cli import app
    CliRunner().invoke(app, "ssl {FIT} --steps {STEPS}".split())
"""


@pytest.mark.slow
def test_a_killed_reconstruction_goes_on_to_its_last_step(tmp_path, monkeypatch):
    kill_after_a_checkpoint(KILLED, tmp_path)
    assert not (tmp_path / "net").exists(), "it was not at its end"
    kept = torch.load(tmp_path / "folder" / LAST, weights_only=True)
    reached, parts = kept["global_step"], {name.split(".")[2] for name in kept["state_dict"]}
    assert 0 < reached < STEPS
    assert {"learner", "tokens", "decoder"} <= parts, "the heads are kept with the backbone"
    monkeypatch.chdir(tmp_path)
    call(*FIT.split(), "--steps", reached + 100, "--resume")
    done = torch.load(tmp_path / "folder" / LAST, weights_only=True)
    assert done["global_step"] == reached + 100
    made_by = read_made_by(tmp_path / "net")
    assert made_by["finished"] is True and made_by["steps"] == reached + 100
    net, prefix = load_backbone(tmp_path / "net").state_dict(), "learner.backbone.halves.backbone."
    for name, saved in net.items():
        before, after = (
            each["state_dict"][f"method.method.{prefix}{name}"] for each in (kept, done)
        )
        assert saved.isfinite().all() and torch.equal(saved, after)
        assert not torch.equal(saved, before), name
