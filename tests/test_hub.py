from __future__ import annotations

import pytest
import torch

from hierforecast.task import Task

hub = pytest.importorskip("hierforecast.hub", reason="needs the extra 'hub'")


def test_a_model_comes_back_from_a_folder_bit_for_bit(tmp_path):
    task = Task(8, 4, n_targets=2, n_levels=2, n_types=3, past=(None, 4), static=(5,))
    model = hub.HiPerformer(width=16, depth=1, heads=2, head="student", task=task)
    model.save_pretrained(tmp_path)
    back = hub.HiPerformer.from_pretrained(tmp_path)
    assert back.task == task and back.get_params() == model.get_params()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, back.state_dict()[name]), name


def test_columns_are_named_as_for_the_model_itself():
    assert hub.HiPerformer.__name__ == "HiPerformer"
