"""A second implementation of every metric, loops from the definitions, and random cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from hierforecast.metrics import Evaluation

K, H, D = 6, 4, 2
SIZES = (3, 1, 5, 0, 2, 4)  # rows per scene: ragged, one scene without rows


def make(seed: int = 0, sizes: tuple[int, ...] = SIZES, missing: float = 0.3) -> Evaluation:
    """Random scenes with rows mixed, missing cells, one row and one scene wholly absent."""
    rng = np.random.default_rng(seed)
    scene = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = len(scene)
    present = rng.random((rows, H)) > missing
    if missing:
        present[0] = False
        present[scene == 1] = False
    truth = rng.normal(size=(rows, H, D)) * 3
    lower = truth + rng.normal(size=truth.shape) - 1
    scale = rng.random((2, rows, D)) + 0.5
    if rows > 8:  # a constant history, and none
        scale[:, 5], scale[:, 8] = 0, np.nan
    return Evaluation(
        truth=truth,
        present=present,
        scene=scene,
        n_scenes=len(sizes),
        point=truth + rng.normal(size=truth.shape),
        samples=truth + 2.5 * rng.normal(size=(K, *truth.shape)) + 0.5,
        log_prob=rng.normal(size=len(sizes)),
        lower=lower,
        upper=lower + rng.random(truth.shape) * 3,
        quantiles={q / 10: truth + rng.normal(size=truth.shape) for q in range(1, 10)},
        scale={None: scale, 3: 2 * scale},
    )


def two_agents() -> Evaluation:
    """Truth 0; agents (one step, x and y): sample 0 errs 5 and 0, sample 1 errs 1 and 6."""
    samples = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 1.0], [6.0, 0.0]]])[:, :, None]
    return Evaluation(
        torch.zeros(2, 1, 2),
        torch.ones(2, 1, dtype=torch.bool),
        torch.zeros(2),
        1,
        point=samples[0],
        samples=samples,
        log_prob=torch.tensor([-8.0]),
    )


# --- the second implementation: loops, straight from the definitions ---------------------------


def cells(e: Evaluation) -> list[tuple[int, int, int]]:
    return [c for c in product(*map(range, e.truth.shape)) if e.present[c[0], c[1]]]


def displacement(e: Evaluation, forecast, row: int, step: int) -> float:
    return math.dist(forecast[row, step].tolist(), e.truth[row, step].tolist())


def row_error(e: Evaluation, forecast, row: int, final: bool) -> float | None:
    """ADE or FDE of one row; None where it does not count."""
    steps = [t for t in range(H) if e.present[row, t]]
    if final:
        return displacement(e, forecast, row, H - 1) if H - 1 in steps else None
    return np.mean([displacement(e, forecast, row, t) for t in steps]) if steps else None


def counted_rows(e: Evaluation, final: bool, scene: int | None = None) -> list[int]:
    return [
        row
        for row in range(len(e.truth))
        if row_error(e, e.truth, row, final) is not None and scene in (None, int(e.scene[row]))
    ]


def slow_displacement(e: Evaluation, final: bool) -> float:
    return np.mean([row_error(e, e.point, row, final) for row in counted_rows(e, final)])


def slow_best(e: Evaluation, final: bool, threshold: float | None = None) -> float:
    best = [
        min(row_error(e, sample, row, final) for sample in e.samples)
        for row in counted_rows(e, final)
    ]
    return np.mean(best if threshold is None else [b > threshold for b in best])


def slow_joint(e: Evaluation, final: bool, broken: bool = False) -> float:
    scores = []
    for scene in range(e.n_scenes):
        rows = counted_rows(e, final, scene)
        errors = np.array([[row_error(e, s, row, final) for row in rows] for s in e.samples])
        if rows:  # the broken twin takes the minimum before the mean over agents
            scores.append(errors.min(0).mean() if broken else errors.mean(1).min())
    return np.mean(scores)


def slow_nll(e: Evaluation, per_coordinate: bool) -> float:
    counts = [D * int(e.present[e.scene == scene].sum()) for scene in range(e.n_scenes)]
    total = sum(-float(e.log_prob[s]) for s, count in enumerate(counts) if count)
    return total / (sum(counts) if per_coordinate else sum(count > 0 for count in counts))


def energy_form(x: np.ndarray, y: np.ndarray, pairs: int) -> float:
    """x (K, n), y (n,)."""
    near = np.mean([np.linalg.norm(a - y) for a in x])
    return near - sum(np.linalg.norm(a - b) for a in x for b in x) / (2 * pairs)


def slow_crps(e: Evaluation, pairs: int = K * (K - 1)) -> float:
    score = [
        energy_form(e.samples[:, *c, None].numpy(), e.truth[c].numpy(), pairs) for c in cells(e)
    ]
    return np.mean(score)


def slow_crps_sum(e: Evaluation) -> float:
    scores = []
    for scene, t, d in product(range(e.n_scenes), range(H), range(D)):
        rows = [r for r in range(len(e.truth)) if e.scene[r] == scene and e.present[r, t]]
        if rows:
            x, y = e.samples[:, rows, t, d].sum(1), e.truth[rows, t, d].sum()
            scores.append(energy_form(x[:, None].numpy(), y[None].numpy(), K * (K - 1)))
    return np.mean(scores)


def scene_vectors(e: Evaluation) -> list[tuple[np.ndarray, np.ndarray]]:
    vectors = []
    for scene in range(e.n_scenes):
        inside = [c for c in cells(e) if e.scene[c[0]] == scene]
        x = np.array([[float(sample[c]) for c in inside] for sample in e.samples])
        vectors.append((x, np.array([float(e.truth[c]) for c in inside])))
    return [(x, y) for x, y in vectors if y.size]


def slow_energy(e: Evaluation, pairs: int = K * (K - 1)) -> float:
    return np.mean([energy_form(x, y, pairs) for x, y in scene_vectors(e)])


def slow_quantile(e: Evaluation, weighted: bool) -> float:
    losses, size = [], 0.0
    for c in cells(e):
        y = float(e.truth[c])
        size += abs(y)
        for level in np.arange(1, 10) / 10:
            q = np.quantile(e.samples[:, *c].numpy(), level)
            losses.append(2 * (level * (y - q) if y >= q else (1 - level) * (q - y)))
    return sum(losses) / 9 / size if weighted else np.mean(losses)


def slow_exact_quantile(e: Evaluation) -> float:
    """GluonTS's way round: a weighted loss for each level first, then their mean."""
    each = []
    for level, quantile in e.quantiles.items():
        pairs = [(float(e.truth[c]), float(quantile[c])) for c in cells(e)]
        loss = sum(2 * (level * (y - q) if y >= q else (1 - level) * (q - y)) for y, q in pairs)
        each.append(loss / sum(abs(y) for y, _ in pairs))
    return np.mean(each)


def slow_scaled(e: Evaluation, power: int) -> float:
    values = []
    for row, d in product(range(len(e.truth)), range(D)):
        error = [abs(float(e.point[c] - e.truth[c])) for c in cells(e) if (c[0], c[2]) == (row, d)]
        scale = float(e.scale[None][power - 1, row, d])
        if error and scale > 0:
            values.append((np.mean([x**power for x in error]) / scale) ** (1 / power))
    return np.mean(values)


def slow_movement(e: Evaluation, order: int) -> float:
    """Of all samples over that of the truth, repeated as often."""
    drawn, true = 0.0, 0.0
    for row, end in product(range(len(e.truth)), range(order, H)):
        if e.present[row, end - order : end + 1].all():
            for path in (e.truth, *e.samples):
                steps = [path[row, end - back].numpy() for back in range(order + 1)]
                change = steps[0] - steps[1] if order == 1 else steps[0] - 2 * steps[1] + steps[2]
                size = math.hypot(*change)
                true, drawn = (true + size, drawn) if path is e.truth else (true, drawn + size)
    return drawn / len(e.samples) / true if true else math.nan


def over_cells(function: Callable[[float, float, float, float], float]):
    def slow(e: Evaluation) -> float:
        arrays = (e.truth, e.point, e.lower, e.upper)
        return np.mean([function(*(float(a[c]) for a in arrays)) for c in cells(e)])

    return slow


SLOW: dict[str, Callable[[Evaluation], float]] = {
    "mae": over_cells(lambda y, p, lo, hi: abs(p - y)),
    "mse": over_cells(lambda y, p, lo, hi: (p - y) ** 2),
    "rmse": lambda e: math.sqrt(SLOW["mse"](e)),
    "wape": lambda e: SLOW["mae"](e) / over_cells(lambda y, p, lo, hi: abs(y))(e),
    "bias": over_cells(lambda y, p, lo, hi: p - y),
    "mase": lambda e: slow_scaled(e, 1),
    "rmsse": lambda e: slow_scaled(e, 2),
    "ade": lambda e: slow_displacement(e, final=False),
    "fde": lambda e: slow_displacement(e, final=True),
    "min_ade": lambda e: slow_best(e, final=False),
    "min_fde": lambda e: slow_best(e, final=True),
    "min_jade": lambda e: slow_joint(e, final=False),
    "min_jfde": lambda e: slow_joint(e, final=True),
    "miss_rate": lambda e: slow_best(e, final=True, threshold=2.0),
    "path_length": lambda e: slow_movement(e, order=1),
    "roughness": lambda e: slow_movement(e, order=2),
    "nll": lambda e: slow_nll(e, per_coordinate=False),
    "nll_per_coordinate": lambda e: slow_nll(e, per_coordinate=True),
    "crps": slow_crps,
    "crps_sum": slow_crps_sum,
    "energy_score": slow_energy,
    "quantile_loss": lambda e: slow_quantile(e, weighted=False),
    "weighted_quantile_loss": lambda e: slow_quantile(e, weighted=True),
    "mean_weighted_quantile_loss": slow_exact_quantile,
    "coverage": over_cells(lambda y, p, lo, hi: lo <= y <= hi),
    "width": over_cells(lambda y, p, lo, hi: hi - lo),
}
