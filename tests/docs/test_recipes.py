"""The recipes for packages that are not among the tests' own: each runs where its package is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from sklearn.base import clone

from hierforecast import Forecaster, HiPerformer
from tests.helpers import COLUMNS, make_frame

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
# Warnings of packages about one another are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")
LOGGERS = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow", "WandbLogger": "wandb"}


def plan() -> Forecaster:
    trainer = {"enable_progress_bar": False, "accelerator": "cpu"}
    sizes = {"context_length": 8, "prediction_length": 3, "max_steps": 4}
    return Forecaster(HiPerformer(8, 1, 2), columns=COLUMNS, trainer=trainer, **sizes)


def test_a_search_by_optuna():
    optuna = pytest.importorskip("optuna")
    (block,) = re.findall(r"```text\n(def objective.*?)```", PAGE, re.DOTALL)
    scope = {"plan": plan(), "clone": clone, "optuna": optuna}
    scope |= {"train": make_frame(6), "val": make_frame(6, seed=1)}
    exec(block.replace("n_trials=20", "n_trials=2"), scope)
    assert len(scope["study"].trials) == 2 and scope["study"].best_value > 0
    assert set(scope["study"].best_params) == {"learning_rate", "model__width"}


@pytest.mark.parametrize("name", LOGGERS)
def test_losses_go_to_a_logger(name, tmp_path, monkeypatch):
    pytest.importorskip(LOGGERS[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    (call,) = re.findall(rf"`({name}\(.*?\))`", PAGE)
    loggers = importlib.import_module("lightning.pytorch.loggers")
    logger = eval(call, vars(loggers))
    fitted = clone(plan())
    fitted.trainer |= {"logger": logger, "log_every_n_steps": 1}
    fitted.fit(make_frame(6), make_frame(6, seed=1))
    assert len(fitted.history_) == 4 and any(path.is_file() for path in tmp_path.rglob("*"))
