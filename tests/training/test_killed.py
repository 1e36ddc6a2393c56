"""Trainings that the system kills at random moments, and that go on as if nothing had happened.

``HIERFORECAST_KILLS=20`` kills each of them twenty times.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hierforecast import Forecaster
from hierforecast.io.atomic import LEFTOVER
from hierforecast.io.checkpoints import LAST
from tests.helpers import make_frame
from tests.killing import reached, run

KILLS = int(os.environ.get("HIERFORECAST_KILLS", "2"))
PREAMBLE = f"""
    import os, torch
    from tests.helpers import QUIET, make_frame, tiny
    resume = os.path.exists("folder/{LAST}")
    trainer = {{**QUIET, "default_root_dir": "folder"}}
"""
FIT = """
    from hierforecast import HiPerformer
    model = HiPerformer(8, 1, 2, dropout=0.2)
    options = dict(max_steps=240, seed=3, series_dropout=0.3, learning_rate=0.01)
    found = tiny(model, trainer={**trainer, "val_check_interval": 4}, **options)
    found.fit(make_frame(), resume=resume)
    history = found.history_.values.tolist()
    torch.save([found.model_.state_dict(), repr(history)], "done.pt")
"""
IMAGES = """
    from tests.image_ssl.test_training import method, pictures, schedule
    from hierforecast.image_ssl.training import pretrain
    learning = method()
    curve = pretrain(learning, pictures(), schedule(400), trainer=trainer, resume=resume)
    torch.save([learning.state_dict(), repr(curve.values.tolist())], "done.pt")
"""
COMMAND = """
    from typer.testing import CliRunner
    from hierforecast.cli import app
    from hierforecast.image_ssl.storage import load_backbone
    words = "pretrain net --method reconstruction --arm plain --size 9 --images 24 --batch-size 8"
    words += " --width 2 --head-width 4 --checkpoints folder --steps 120 --workers 1"
    words += " --resume" * resume
    result = CliRunner().invoke(app, ["ssl", *words.split()])
    assert result.exit_code == 0, result.stderr
    torch.save([load_backbone("net").state_dict(), ""], "done.pt")
"""


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A temporary folder on another file system than the checkpoint's, where there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("script", [FIT, IMAGES, COMMAND], ids=["fit", "images", "command"])
def test_a_killed_training_loses_nothing(script, tmp_path, elsewhere):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert run(PREAMBLE + script, tmp_path / "whole") == 0
    place, moments = tmp_path / "killed", random.Random(KILLS)
    end = reached(tmp_path / "whole" / "folder")
    for _ in range(KILLS):
        before = reached(place / "folder")
        at = min(before + 1 + moments.randrange(max(1, end // (KILLS + 1))), end)
        run(PREAMBLE + script, place, at, late=0.3 * moments.random(), TMPDIR=str(elsewhere))
        left = {p.name for p in (place / "folder").iterdir() if not LEFTOVER.fullmatch(p.name)}
        assert left == {LAST} and reached(place / "folder") >= max(before, 0), "nothing is lost"
        assert not [p for p in elsewhere.rglob("*") if p.is_file()], "nothing is left elsewhere"
    assert run(PREAMBLE + script, place, TMPDIR=str(elsewhere)) == 0
    assert [p.name for p in (place / "folder").iterdir()] == [LAST]
    whole, found = (done(tmp_path / name) for name in ("whole", "killed"))
    assert whole[1] == found[1]
    assert whole[0].keys() == found[0].keys()
    assert all(torch.equal(x, found[0][name]) for name, x in whole[0].items())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_saves_what_it_has_and_goes_on_later(how, status, tmp_path):
    make_frame().to_csv(tmp_path / "train.csv", index=False)
    words = "fit train.csv model --context 11 --horizon 4 --target x --target y --scene scene"
    words += " --set width=8 --set depth=1 --set heads=2 --checkpoints folder --steps"
    command = f"from hierforecast.cli import app; app({words.split()!r} + %r)"
    assert run(command % ["3000"], tmp_path, at=150, how=how) == status
    stopped = Forecaster.load(tmp_path / "model")
    assert len(stopped.predict(make_frame())) and 150 <= reached(tmp_path / "folder") < 3000
    assert run(command % ["3000", "--resume"], tmp_path, at=reached(tmp_path / "folder") + 1) < 0


def done(folder: Path) -> Any:
    return torch.load(folder / "done.pt", weights_only=True)
