"""What holds for every metric: absent cells change nothing, batches add up, errors help."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hierforecast.metrics import (
    METRICS,
    Evaluation,
    MetricTable,
    Totals,
    crps,
    energy_score,
    find_metric,
    mean_of,
    min_ade,
)
from tests.metrics.slow_metrics import D, H, K, make, two_agents

# --- missing cells -------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("name", METRICS)
def test_garbage_in_absent_cells_changes_nothing(name: str, garbage: float) -> None:
    evaluation = make(8)
    absent = ~evaluation.present[..., None]
    names = ("truth", "point", "samples", "lower", "upper")
    spoilt = {n: getattr(evaluation, n).masked_fill(absent, garbage) for n in names}
    empty = evaluation.scene_sum(evaluation.present.sum(1)) == 0
    assert empty.any()
    spoilt["quantiles"] = {
        q: value.masked_fill(absent, garbage) for q, value in evaluation.quantiles.items()
    }
    spoilt["log_prob"] = evaluation.log_prob.masked_fill(empty, garbage)
    assert METRICS[name](replace(evaluation, **spoilt)) == METRICS[name](evaluation)


@pytest.mark.parametrize("name", METRICS)
def test_absent_rows_are_as_if_deleted(name: str) -> None:
    evaluation = make(9)
    keep = evaluation.present.any(1)
    assert not keep.all()
    deleted = replace(evaluation.subset(keep), log_prob=evaluation.log_prob)
    assert METRICS[name](deleted) == pytest.approx(METRICS[name](evaluation), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_present_is_nan(name: str) -> None:
    evaluation = make(10)
    absent = replace(evaluation, present=torch.zeros_like(evaluation.present))
    no_rows = replace(evaluation.subset(evaluation.scene < 0), log_prob=evaluation.log_prob)
    assert math.isnan(METRICS[name](absent))
    assert math.isnan(METRICS[name](no_rows))


@pytest.mark.parametrize("name", METRICS)
def test_nan_forecast_of_a_present_cell_shows(name: str) -> None:
    evaluation = make(11, missing=0.0)
    broken = {n: getattr(evaluation, n).clone() for n in ("point", "samples", "lower", "log_prob")}
    broken["point"][2, -1] = broken["samples"][1, 2, -1] = broken["lower"][2, -1] = torch.nan
    broken["log_prob"][0] = torch.nan
    broken["quantiles"] = {q: value.clone() for q, value in evaluation.quantiles.items()}
    broken["quantiles"][0.3][2, -1] = torch.nan
    assert math.isnan(METRICS[name](replace(evaluation, **broken)))


# --- batches, dtypes, names ----------------------------------------------------------------------


def take_scenes(evaluation: Evaluation, scenes: list[int]) -> Evaluation:
    """The given scenes as a batch of their own, numbered from 0."""
    rows = torch.isin(evaluation.scene, torch.tensor(scenes))
    part = evaluation.subset(rows)
    number = {scene: index for index, scene in enumerate(scenes)}
    return replace(
        part,
        scene=torch.tensor([number[int(scene)] for scene in part.scene]),
        n_scenes=len(scenes),
        log_prob=evaluation.log_prob[scenes],
    )


def test_batches_add_up_to_all_at_once() -> None:
    evaluation = make(12)
    player = torch.arange(len(evaluation.truth)) % 3 > 0
    table = MetricTable(METRICS)
    players = MetricTable([m for m in METRICS.values() if m.needs != "distribution"])
    naive = []
    for scenes in ([4, 0], [1], [5, 2, 3]):
        rows = torch.isin(evaluation.scene, torch.tensor(scenes))
        batch = take_scenes(evaluation, scenes)
        table.update(batch)
        players.update(batch.subset(player[rows]), part="players")
        naive.append(METRICS["rmse"](batch))
    assert table.values() == pytest.approx({n: m(evaluation) for n, m in METRICS.items()})
    part = evaluation.subset(player)
    assert players.values("players") == pytest.approx(
        {m.name: m(part) for m in players.metrics}, rel=1e-12
    )
    # a mean of batch means would not do
    assert np.nanmean(naive) != pytest.approx(METRICS["rmse"](evaluation), rel=1e-3)


def test_table_rows_are_tidy() -> None:
    table = MetricTable(["fde", METRICS["miss_rate"].using(threshold=6.56)])
    assert table.needs == {"point", "samples"}
    assert all(math.isnan(value) for value in table.values().values())
    table.update(two_agents())
    table.update(two_agents(), part="players")
    table.update(two_agents(), part="players")
    assert table.rows()[2] == {"part": "players", "metric": "fde", "value": 2.5, "weight": 4.0}
    assert [row["metric"] for row in table.rows()] == ["fde", "miss_rate[threshold=6.56]"] * 2


def test_totals_per_unit() -> None:
    totals = Totals(torch.tensor([2.0, 0.0, 9.0]), torch.tensor([1.0, 0.0, 3.0]))
    assert mean_of(totals) == 11 / 4
    torch.testing.assert_close(totals.per_unit, torch.tensor([2.0, torch.nan, 3.0]), equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_numpy_and_single_precision_agree(name: str) -> None:
    """Read-only and reversed numpy views, float32 samples against float64 truth, bfloat16."""
    evaluation = make(13)
    frozen = evaluation.truth.numpy()[::-1].copy()[::-1]
    frozen.flags.writeable = False
    mixed = replace(evaluation, truth=frozen, samples=evaluation.samples.float().numpy())
    expected = METRICS[name](evaluation)
    assert METRICS[name](mixed) == pytest.approx(expected, rel=1e-4)
    coarse = replace(evaluation, samples=evaluation.samples.bfloat16())
    assert coarse.samples.dtype == torch.float32
    exact = replace(evaluation, samples=evaluation.samples.bfloat16().double())
    assert METRICS[name](coarse) == pytest.approx(METRICS[name](exact), rel=1e-5)


def test_close_samples_far_from_the_truth_keep_their_digits() -> None:
    """In float32, |x|^2 + |x'|^2 - 2 x.x' would lose the spread altogether."""
    torch.manual_seed(0)
    offset = torch.randn(K, 3, H, D) * 2**-6
    present, scene = torch.ones(3, H), torch.zeros(3)
    far = Evaluation(torch.zeros(3, H, D), present, scene, 1, samples=(offset + 1000).float())
    exact = replace(far, truth=far.truth.double(), samples=far.samples.double())
    for name in ("crps", "energy_score"):
        assert METRICS[name](far) == pytest.approx(METRICS[name](exact), rel=1e-6)


def test_unknown_name_lists_the_names_and_the_closest() -> None:
    with pytest.raises(ValueError, match=r"'minADE'.*Did you mean 'min_ade'\?.*energy_score"):
        find_metric("minADE")
    with pytest.raises(ValueError, match="There are: mae, mse"):
        MetricTable(["fde", "qqqqqq"])
    assert find_metric("crps") is METRICS["crps"] is find_metric(METRICS["crps"])


def test_options_may_stand_behind_the_name() -> None:
    found = find_metric("miss_rate[threshold=6.56,k=5]")
    assert found.name == "miss_rate[threshold=6.56,k=5]"
    assert dict(found.options) == {"threshold": 6.56, "k": 5}
    assert find_metric("mase[season=3]")(make()) == pytest.approx(METRICS["mase"](make()) / 2)
    assert find_metric("mwql") is METRICS["mean_weighted_quantile_loss"]
    with pytest.raises(ValueError, match=r"options of 'mase\[season=week\]' cannot be read: give"):
        find_metric("mase[season=week]")
    with pytest.raises(ValueError, match=r"metric 'mae' has no option 'k': it has none"):
        find_metric("mae[k=5]")
    with pytest.raises(ValueError, match=r"'mase' has no option 'sesson': its options are season"):
        METRICS["mase"].using(sesson=7)
    with pytest.raises(ValueError, match=r"there are no metrics: name one or more of mae"):
        MetricTable([])
    with pytest.raises(ValueError, match=r"no metric is called 'mass'\. Did you mean 'mase'\?"):
        find_metric("mass[season=3]")


def test_the_best_of_several() -> None:
    values = [0.7, -0.1, 0.93, math.nan]
    best = {name: METRICS[name].best_of(values) for name in ("mae", "bias", "coverage", "width")}
    assert best == pytest.approx(
        {"mae": -0.1, "bias": -0.1, "coverage": 0.93, "width": math.nan}, nan_ok=True
    )
    assert METRICS["coverage"].best_of(values, level=80) == 0.7
    assert math.isnan(METRICS["mae"].best_of([math.nan]))


ARRAY = {
    "point": "point",
    "samples": "samples",
    "distribution": "log_prob",
    "interval": "(lower|upper)",
    "quantiles": "quantiles",
    "scale": "point",
}


def test_every_metric_says_what_it_needs() -> None:
    names = ["point", "samples", "log_prob", "lower", "upper", "quantiles", "scale"]
    bare = replace(make(), **dict.fromkeys(names))
    for metric in METRICS.values():
        with pytest.raises(ValueError, match=rf"give it as Evaluation\({ARRAY[metric.needs]}="):
            metric(bare)
    with pytest.raises(ValueError, match=r"give it as Evaluation\(scale="):
        METRICS["mase"](replace(make(), scale=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": torch.zeros(15, H)}, r"truth has shape \(15, 4\).*one target: truth"),
        ({"truth": torch.full((15, H, D), torch.nan)}, "truth is NaN in present cells"),
        ({"present": torch.ones(15, H + 1)}, r"present has shape \(15, 5\); expected \(15, 4\)"),
        ({"scene": torch.arange(15)}, "scene runs from 0 to 14.*n_scenes - 1 = 5"),
        ({"point": torch.zeros(15, H, 1)}, "point has shape"),
        ({"point": torch.zeros(1, 15, H, D)}, "point has shape"),
        ({"samples": torch.zeros(15, H, D)}, "samples have shape"),
        ({"samples": torch.zeros(3, 15, H + 1, D)}, r"expected \(3, 15, 4, 2\)"),
        ({"quantiles": {0.5: torch.zeros(15, H)}}, r"quantiles has shape \(15, 4\)"),
        ({"scale": {None: torch.zeros(15, D)}}, r"scale has shape .*expected \(2, 15, 2\)"),
        ({"log_prob": torch.zeros(15)}, r"log_prob has shape \(15,\); expected \(6,\)"),
    ],
)
def test_bad_input_is_named(change: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make(), **change)


def test_bad_options_are_named() -> None:
    one = replace(make(), samples=make().samples[:1])
    with pytest.raises(ValueError, match="two samples or more"):
        crps(one)
    assert METRICS["energy_score"].using(estimator="nrg")(one) > 0
    with pytest.raises(ValueError, match="estimator is 'pwm'"):
        energy_score(make(), estimator="pwm")
    with pytest.raises(ValueError, match="k is 7 but there are 6"):
        min_ade(make(), k=7)
    with pytest.raises(ValueError, match="probabilities"):
        METRICS["quantile_loss"].using(levels=(50,))(make())
    with pytest.raises(ValueError, match=r"no quantile 0\.95: give it in Evaluation\(quantiles="):
        METRICS["mean_weighted_quantile_loss"].using(levels=(0.5, 0.95))(make())
    with pytest.raises(ValueError, match=r"no scale for season=7: give it as Evaluation\(scale="):
        METRICS["rmsse"].using(season=7)(make())


def test_evaluation_shows_what_it_holds() -> None:
    assert repr(make()) == (
        "Evaluation(15 rows of 6 scenes, 4 steps, 2 targets, "
        "with point, samples, log_prob, lower, upper, quantiles, scale)"
    )
