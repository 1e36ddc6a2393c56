"""Temperature: exact for every family, and learned only where held-out windows say so twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from hierforecast import Forecaster, HiPerformer
from hierforecast.distributions import IndependentScenes, SceneDistribution
from hierforecast.distributions.coupled import widened
from hierforecast.nn import temperature as module
from hierforecast.nn.temperature import Seen, Temperature
from hierforecast.training import fitting, held_out
from tests.distributions.conditioning import FAMILIES, D, H, P, close, normal, scattered
from tests.helpers import make_frame, tiny

TYPES = torch.tensor([0, 1, 0, 1, 1, 0])


def warm(*factors: float) -> Temperature:
    temperature = Temperature(len(factors)).double()
    temperature.log.copy_(torch.tensor(factors, dtype=torch.float64).log())
    return temperature


def by_hand(p: SceneDistribution, value: Tensor, seen: Tensor, factor: Tensor) -> Tensor:
    """Log density by change of variables: put the deviations back, pay for each seen cell."""
    back = p.mean + (value - p.mean) / factor
    paid = torch.zeros(p.n_scenes, dtype=torch.float64)
    paid.index_add_(0, p.scene, (seen * factor.log()).sum((1, 2)))
    return p.log_prob(back, seen) - paid


@pytest.mark.parametrize("name", FAMILIES)
def test_every_deviation_is_multiplied_whatever_the_family(name: str):
    p, factor = (
        FAMILIES[name](),
        torch.tensor([1.7, 0.4], dtype=torch.float64)[TYPES][:, None, None],
    )
    q = warm(1.7, 0.4)(p, TYPES)
    assert isinstance(p, type(q))
    close(q.mean, p.mean)
    close(q.variance, factor**2 * p.variance)
    value, seen = normal(P, H, D, seed=5), ~scattered()
    close(q.log_prob(value, seen), by_hand(p, value, seen, factor))
    drawn, plain = (d.sample((5,), torch.Generator().manual_seed(1)) for d in (q, p))
    close(drawn, p.mean + factor * (plain - p.mean))
    for share in (0.05, 0.7):
        close(q.quantile(share), p.mean + factor * (p.quantile(share) - p.mean), 1e-8)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_commutes_with_units_and_with_permutations(name: str):
    p, temperature = FAMILIES[name](), warm(1.7, 0.4)
    loc, scale = normal(P, 1, D, seed=6), -2 * normal(P, 1, D, seed=7).exp()
    value = normal(P, H, D, seed=8)
    moved = temperature(p, TYPES, loc, scale)
    close(moved.log_prob(value), temperature(p, TYPES).affine(loc, scale).log_prob(value))
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    other = temperature(p.rows(order), TYPES[order])
    close(other.log_prob(value[order]), temperature(p, TYPES).log_prob(value))
    wrong = temperature(p.rows(order), TYPES)  # a broken twin: by place instead of by type
    assert (wrong.log_prob(value[order]) - other.log_prob(value[order])).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_temperature_one_changes_no_bit(name: str):
    p, loc, scale = FAMILIES[name](), normal(P, 1, D, seed=6), normal(P, 1, D, seed=7).exp()
    q, plain = warm(1.0, 1.0)(p, TYPES, loc, scale), p.affine(loc, scale)
    assert torch.equal(q.mean, plain.mean) and torch.equal(q.stddev, plain.stddev)
    value = normal(P, H, D, seed=8)
    assert torch.equal(q.log_prob(value), plain.log_prob(value))


def windows(stretch: tuple[float, float], count: int = 60, seed: int = 0) -> list[Seen]:
    """Batches of ten windows of four rows; a standard normal, and truths that are wider."""
    generator, batches = torch.Generator().manual_seed(seed), []
    for _ in range(count // 10):
        types = torch.tensor([0, 0, 1, 1]).repeat(10)
        factor = torch.tensor(stretch)[types][:, None, None]
        scene = torch.arange(10).repeat_interleave(4)
        cells = Normal(torch.zeros(40, 5, 2), torch.ones(40, 5, 2))
        raw = IndependentScenes(cells, scene, 10)
        values = factor * torch.randn(40, 5, 2, generator=generator)
        present = torch.rand(40, 5, generator=generator) > 0.2
        batches.append(Seen(raw, types, torch.where(present[..., None], values, 1e6), present))
    return batches


def test_it_finds_how_much_wider_the_truth_is():
    temperature = Temperature(2)
    temperature.fit(windows((1.5, 0.8)))
    assert temperature.log.exp().tolist() == pytest.approx([1.5, 0.8], abs=0.05)
    for batches in (windows((1.0, 1.0), seed=seed) for seed in range(8)):
        temperature.fit(batches)
        assert (temperature.log == 0).all(), "it was right: one stays one, to the bit"
    temperature.fit(windows((1.5, 0.8))[:1])
    assert (temperature.log == 0).all(), "one batch has no judge"


def of_one(each: Seen) -> Seen:
    """The first window of a batch."""
    rows = torch.arange(4)
    raw = IndependentScenes(Normal(torch.zeros(4, 5, 2), torch.ones(4, 5, 2)), rows * 0, 1)
    return Seen(raw, each.types[rows], each.values[rows], each.present[rows])


def test_a_few_windows_only_ever_widen():
    temperature = Temperature(2)
    few = [of_one(each) for each in windows((2.5, 0.4), 80)]
    assert len(few) == 8
    temperature.fit(few)
    wider, other = temperature.log.exp().tolist()
    assert wider > 1.3 and other == 1
    temperature.fit(few, overlap=200.0)
    assert (temperature.log == 0).all(), "so many of them count as one"
    temperature.fit([of_one(each) for each in windows((0.4, 0.4), 80)])
    assert (temperature.log == 0).all(), "calm by chance, perhaps"
    temperature.fit([of_one(each) for each in windows((40.0, 40.0), 80)])
    assert temperature.log.exp().max() < 5, "who asks for more is not believed"
    temperature.fit(few[:3])
    assert (temperature.log == 0).all(), "too few windows to judge by"


def test_few_cells_are_drawn_to_one():
    batches = windows((1.5, 1.5))
    for each in batches:
        each.present[4:] &= each.types[4:, None] == 0  # few are left of the other
    (both,) = Temperature(2)._best(batches, False, [torch.ones(2)])
    assert 0 < both[1] < 0.9 * both[0]


def test_one_wild_window_convinces_nobody(monkeypatch):
    for batches in (windows((1.0, 1.0)), windows((1.0, 1.0))):
        batches[1].values[3] = 300.0
        temperature = Temperature(2)
        temperature.fit(batches)
        assert (temperature.log == 0).all()
    monkeypatch.setattr(module, "SURE", -torch.inf)  # nobody judges
    temperature.fit(batches)
    assert temperature.log.max() > 1, "the broken twin is convinced"


def test_a_wild_type_keeps_no_other_from_its_temperature():
    batches = windows((1.5, 1.0), 200)
    wild = batches[1].types.nonzero()[5]
    batches[1].values[wild], batches[1].present[wild] = 300.0, True
    temperature = Temperature(2)
    temperature.fit(batches)
    calm, other = temperature.log.exp().tolist()
    assert calm == pytest.approx(1.5, abs=0.05) and other == 1


def test_slow_components_have_temperatures_of_their_own():
    """Truths whose slow components alone are wider: theirs are found, and the others stay one."""
    p = FAMILIES["coupled"]()
    count = p.levels[-1].mix.shape[1] // D
    for stretch in (1.0, 1.8):
        generator, batches = torch.Generator().manual_seed(0), []
        widths = torch.ones(2, count, dtype=torch.float64)
        widths[1, 0] = stretch
        for values in widened(p, widths[TYPES]).sample((40,), generator):
            batches.append(Seen(p, TYPES, values, torch.ones(P, H, dtype=torch.bool)))
        temperature = Temperature(2, count).double()
        temperature.fit(batches)
        assert temperature.slow is not None
        assert temperature.slow.exp().numpy() == pytest.approx(widths.numpy(), abs=0.25)
        assert temperature.log.exp().tolist() == pytest.approx([1.0, 1.0], abs=0.1)
        if stretch == 1:
            assert (temperature.slow == 0).all(), "it was right: one stays one, to the bit"
        slow = widened(p, temperature.slow[TYPES].exp())
        both = module.stretched(slow, temperature.log[TYPES].exp()[:, None, None])
        close(temperature(p, TYPES).log_prob(values), both.log_prob(values))


def test_a_fit_learns_it_saves_it_and_reports_after_it(monkeypatch, tmp_path):
    train, val = make_frame(4, seed=1), make_frame(12, seed=2)
    monkeypatch.setattr(held_out, "CALIBRATION_SHARE", 1e9)
    monkeypatch.setattr(fitting, "REPORT_SHARE", 1e9)
    wider = {name: [] for name in ("plain", "learned")}
    for name, sure in (("plain", 1e9), ("learned", 2.0)):
        monkeypatch.setattr(module, "SURE", sure)
        model = HiPerformer(16, 1, 2, patch=4, block="sa3")
        forecaster = tiny(model, max_steps=1).fit(train, val)
        wider[name] = [forecaster.model_.temperature.log.clone(), forecaster.report_.coverage]
        nll = forecaster.evaluate(val, ["nll_per_coordinate", "ade"]).query("part == 'all'").value
        wider[name].append(nll.tolist())
    assert (wider["plain"][0] == 0).all() and (wider["learned"][0] != 0).all()
    assert wider["learned"][2][0] < wider["plain"][2][0], "more likely"
    assert wider["learned"][2][1] == pytest.approx(wider["plain"][2][1], abs=1e-5), "the same means"
    assert (wider["learned"][1].covered != wider["plain"][1].covered).any()
    forecaster.save(tmp_path / "a")
    again = Forecaster.load(tmp_path / "a")
    assert torch.equal(again.model_.temperature.log, forecaster.model_.temperature.log)
    history = val[val.ds < 20]
    before, after = (f.predict(history, level=[90]) for f in (forecaster, again))
    assert before.equals(after)
    monkeypatch.setattr(module, "SURE", 1e9)
    again.fit(train, val, warm_start=True)
    assert (again.model_.temperature.log == 0).all(), "a warm start begins without"
