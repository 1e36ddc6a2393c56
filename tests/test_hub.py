from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hierforecast import DataError
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


@pytest.fixture
def saved(tmp_path):
    model = hub.HiPerformer(width=16, depth=1, heads=2, task=Task(8, 4))
    model.save_pretrained(tmp_path)
    return tmp_path


def edit(file, **entries):
    document = {**json.loads(file.read_text()), **entries}
    file.write_text(json.dumps({k: v for k, v in document.items() if v is not ...}))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_missing_is_an_error_and_not_random_weights(name, saved):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"holds no {name}: save it again with save_pre"):
        hub.HiPerformer.from_pretrained(saved)


@pytest.mark.parametrize("strict", [{}, {"strict": False}], ids=str)
def test_a_tensor_too_few_or_too_many_is_an_error(strict, saved):
    file = saved / "model.safetensors"
    weights = load_file(file)
    name = next(iter(weights))
    for odd in (
        {k: v for k, v in weights.items() if k != name},
        {**weights, "more": torch.zeros(3)},
        {**weights, name: weights[name][..., :1].clone()},
    ):
        save_file(odd, file)
        with pytest.raises(DataError, match=rf"config.json' has other weights .*'({name}|more)'"):
            hub.HiPerformer.from_pretrained(str(saved), **strict)


@pytest.mark.parametrize("task", [..., None, {}])
def test_without_a_task_nothing_is_loaded(task, saved):
    edit(saved / "config.json", task=task)
    with pytest.raises(DataError, match=r"config.json' names no task"):
        hub.HiPerformer.from_pretrained(saved)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 10**9},
        {"depth": 10**7},
        {"gates": 3},
        {"task": {"context_length": 8}},
        {"depth": 2},
    ],
    ids=str,
)
def test_options_that_do_not_fit_the_weights_are_named(options, saved):
    edit(saved / "config.json", **options)
    with pytest.raises(DataError, match=r"config\.json' (cannot be built|has other weights)"):
        hub.HiPerformer.from_pretrained(saved)


def test_damaged_files_are_named_and_pickles_are_not_read(saved):
    weights = saved / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-5])
    with pytest.raises(DataError, match=r"model.safetensors' is damaged"):
        hub.HiPerformer.from_pretrained(saved)
    weights.unlink()
    torch.save({}, saved / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"holds no model.safetensors"):
        hub.HiPerformer.from_pretrained(saved)
    weights.write_bytes(content)
    (saved / "config.json").write_text("[" * 10**5)
    with pytest.raises(DataError, match=r"config.json' is damaged"):
        hub.HiPerformer.from_pretrained(saved)


def test_options_given_take_the_place_of_saved_ones_and_the_dtype_stays(tmp_path):
    model = hub.HiPerformer(width=16, depth=1, heads=2, task=Task(8, 4)).double()
    model.save_pretrained(tmp_path)
    back = hub.HiPerformer.from_pretrained(tmp_path, dropout=0.4)
    assert back.dropout == 0.4 and back.get_params()["width"] == 16 and not back.training
    assert {x.dtype for x in back.parameters()} == {torch.float64}
    back.save_pretrained(tmp_path / "again")
    assert hub.HiPerformer.from_pretrained(tmp_path / "again").task == model.task


def test_columns_are_named_as_for_the_model_itself():
    assert hub.HiPerformer.__name__ == "HiPerformer"
