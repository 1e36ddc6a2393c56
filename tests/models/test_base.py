"""The contract of a model: the page's own one, parts passed in, former names, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from hierforecast import DataError, Forecaster, HiPerformer, LastValue
from hierforecast.models import Model, Ridge
from hierforecast.nn.encoder import BLOCKS
from hierforecast.nn.sa3 import SA3Block
from tests.helpers import QUIET, make_frame, tiny
from tests.rows import FLAT, TASK, make_content, make_future, pack

PAGE = Path(__file__).parents[2] / "docs" / "own_model.md"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(2, missing=0.0)


@pytest.mark.skipif(not PAGE.is_file(), reason="an unpacked sdist has no pages")
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(text.splitlines()) < 70, "one screen"
    names: dict[str, object] = {}
    quick = code.replace("max_steps=100", f"max_steps=5, trainer={QUIET}")
    exec(compile(quick, str(PAGE), "exec"), names)
    forecaster, again, test = names["forecaster"], names["again"], names["test"]
    assert {"Perceptron_x", "Perceptron_y-hi-90"} <= set(names["forecast"])
    pd.testing.assert_frame_equal(again.predict(test, [90]), names["forecast"], check_exact=True)
    assert again.model.get_params() == {"width": 64} and not again.model_.training
    backtest = again.backtest(test, n_windows=1)
    pd.testing.assert_frame_equal(backtest, forecaster.backtest(test, n_windows=1))
    again.fit(names["train"], warm_start=True)
    with pytest.raises(DataError, match=r"'Perceptron', .*give its class, .*model=Perceptron\)"):
        Forecaster.load("perceptron")
    with pytest.raises(DataError, match="holds a Perceptron, but model is a LastValue"):
        Forecaster.load("perceptron", model=LastValue)
    with pytest.raises(DataError, match="neither a subclass of Model nor an instance"):
        Forecaster.load("perceptron", model=nn.Linear)


class Wide(SA3Block):
    """A block of a user's."""

    def __init__(self, width: int, *shape) -> None:
        super().__init__(width, *shape)
        self.feed = nn.Linear(width, width)


def test_a_block_can_be_passed_in_and_is_saved_by_its_name(frame, tmp_path, monkeypatch):
    forecaster = tiny(HiPerformer(8, 1, 2, block=Wide), max_steps=1).fit(frame)
    assert isinstance(forecaster.model_.encoder.blocks[0], Wide)
    with pytest.raises(TypeError, match=r"cannot be saved without a name: register it, BLOCKS\["):
        forecaster.save(tmp_path / "f")
    assert not (tmp_path / "f").exists()
    monkeypatch.setitem(BLOCKS, "wide", Wide)
    forecaster.save(tmp_path / "f")
    again = Forecaster.load(tmp_path / "f")
    pd.testing.assert_frame_equal(again.predict(frame), forecaster.predict(frame))
    monkeypatch.delitem(BLOCKS, "wide")
    with pytest.raises(DataError, match=r"'model' .*block='wide' is not one of \[.*'sa3'"):
        Forecaster.load(tmp_path / "f")


@pytest.mark.parametrize("option", ["block", "tokens"])
def test_unknown_parts_are_named(option):
    with pytest.raises(DataError, match=rf"{option}='cubist' is not one of \['"):
        HiPerformer(**{option: "cubist"})


@pytest.mark.parametrize("given", ["ridge", nn.Linear(2, 2), HiPerformer, None], ids=str)
def test_what_is_no_model_is_refused(given, frame):
    with pytest.raises(TypeError, match=r"must be an instance of a model: HiPerformer\(\), or one"):
        Forecaster(given, context_length=3, prediction_length=1).fit(frame)


def test_the_former_name_of_an_option_works_and_warns():
    with pytest.warns(DeprecationWarning, match="the option waves is called n_frequencies now"):
        model = HiPerformer(8, 1, 2, waves=3)
    assert model.n_frequencies == 3 and "waves" not in model.get_params()
    forecaster = tiny(model)
    with pytest.warns(DeprecationWarning, match="model__waves is called model__n_frequencies"):
        forecaster.set_params(model__waves=5)
    assert forecaster.model.n_frequencies == 5


class Bare(Ridge):
    """Everything of the contract that has a default."""

    get_params, to_dict = Model.get_params, Model.to_dict


def test_defaults_of_the_contract():
    model = Bare(penalty=0.5).for_task(TASK)
    assert model.get_params() == {"penalty": 0.5, "scale": "auto"} == model.to_dict()
    batch, future = pack(FLAT, make_content(FLAT, TASK)), make_future(FLAT, TASK)
    model = model.double()
    model.fit_statistics(batch, future)
    cells = 2 * future.present.sum()
    wanted = -model(batch).log_prob(future.values, future.present).sum() / cells
    torch.testing.assert_close(model.loss(batch, future), wanted)
    with pytest.raises(NotImplementedError):
        Model().for_task(TASK)
    assert Model().origin is None
