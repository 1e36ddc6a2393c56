"""Packed rows: the plan of who meets whom against its definition, row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hierforecast.batch import Hierarchy, Partition, hierarchy_of, pad_to_patches
from tests.rows import CROSSED, FLAT, NESTED, TASK, Rows, make_content, pack, path_codes, task_for


def sets_of(partition: Partition, members: list) -> list[list]:
    """The sets that a partition makes of sorted members."""
    sets, at = [], 0
    for n_sets, size in partition.runs:
        for _ in range(n_sets):
            sets.append(members[at : at + size])
            at += size
    assert at == len(members)
    return sets


def check(scene: np.ndarray, groups: np.ndarray, order: np.ndarray, plan: Hierarchy) -> None:
    """Rows share a set exactly when they share scene and group; so do groups and their parents."""
    assert sorted(order.tolist()) == list(range(len(scene)))
    sets = [frozenset(s) for s in sets_of(plan.members, order.tolist())]
    assert plan.most == max(scene.tolist().count(one) for one in scene)
    for number, rows in enumerate(sets):
        assert all(int(plan.group[order.tolist().index(row)]) == number for row in rows)
    for depth, level in zip(range(groups.shape[1], -1, -1), [None, *plan.levels], strict=True):
        keys = [(s, *g[:depth]) for s, g in zip(scene, groups.tolist(), strict=True)]
        wanted = {key: {i for i, k in enumerate(keys) if k == key} for key in keys}
        if level is not None:  # merge the sets of the level below into their parents
            assert len(level.parent) == len(sets)
            assert torch.equal(level.order[level.inverse], torch.arange(len(sets)))
            scenes = [int(scene[min(rows)]) for rows in sets]
            assert level.most == max(map(scenes.count, scenes))
            merged = [frozenset().union(*group) for group in families(level, sets)]
            by_parent = [
                frozenset().union(*(s for s, p in zip(sets, level.parent, strict=True) if p == i))
                for i in range(level.n_parents)
            ]
            assert by_parent == merged
            sets = merged
        assert sorted(map(sorted, sets)) == sorted(map(sorted, wanted.values()))


def families(level, sets: list[frozenset]) -> list[list[frozenset]]:
    """The sets of a level by parent, as the level's partition says it."""
    return sets_of(level.siblings, [sets[i] for i in level.order.tolist()])


def random_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, levels = rng.integers(1, 40), rng.integers(1, 4)
    scene = rng.integers(0, 4, n)
    return scene, path_codes(rng.integers(0, 3, (n, levels)))


@pytest.mark.parametrize("seed", range(20))
def test_plan_agrees_with_its_definition(seed):
    scene, groups = random_rows(seed)
    check(scene, groups, *hierarchy_of(scene, groups))


@pytest.mark.parametrize("seed", range(10))
def test_further_ways_of_grouping_agree_with_their_definition(seed):
    """Each is a plan of its own, of the rows as the first one packs them; `groups` undoes it."""
    scene, groups = random_rows(seed)
    rng = np.random.default_rng(100 + seed)
    ways = [path_codes(rng.integers(0, 3, (len(scene), levels))) for levels in (1, 2)]
    order, plan = hierarchy_of(scene, groups, *ways)
    check(scene, groups, order, plan)
    for way, crossing in zip(ways, plan.crossed, strict=True):
        check(scene[order], way[order], crossing.order.numpy(), crossing.hierarchy)
        assert torch.equal(crossing.order[crossing.inverse], torch.arange(len(order)))
        for level, found in zip(way[order].T[::-1], crossing.groups, strict=True):
            key = scene[order] * 1000 + level
            assert torch.equal(found[:, None] == found, torch.from_numpy(key[:, None] == key))


def test_scenes_taken_from_a_batch_keep_every_way_of_grouping():
    batch = pack(CROSSED, make_content(CROSSED, task_for(CROSSED)))
    taken, rows = batch.take(torch.tensor([1, 0, 1]))
    assert len(taken.hierarchy.crossed) == 1
    (one,), (other,) = taken.hierarchy.crossed_groups, batch.hierarchy.crossed_groups
    for own, of in zip(one, other, strict=True):
        together = (taken.scene[:, None] == taken.scene) & (of[rows][:, None] == of[rows])
        assert torch.equal(own[:, None] == own, together)


@pytest.mark.parametrize("broken", ["scenes meet", "groups ignored", "a level left out"])
def test_broken_plans_are_caught(broken):
    scene, groups = NESTED.scene, path_codes(NESTED.groups)
    check(scene, groups, *hierarchy_of(scene, groups))
    if broken == "scenes meet":
        order, plan = hierarchy_of(np.zeros_like(scene), groups)
    elif broken == "groups ignored":
        order, plan = hierarchy_of(scene, np.zeros_like(groups))
    else:
        order, plan = hierarchy_of(scene, groups)
        plan = replace(plan, levels=plan.levels[:1])
    with pytest.raises((AssertionError, ValueError)):
        check(scene, groups, order, plan)


def test_runs_are_sorted_by_size_and_few():
    _, plan = hierarchy_of(FLAT.scene, path_codes(FLAT.groups))
    sizes = [size for _, size in plan.members.runs]
    assert sizes == sorted(set(sizes)), "one run for each size, small ones first"


def test_no_rows_at_all():
    order, plan = hierarchy_of(np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
    assert len(order) == 0
    assert plan.members.runs == () and [level.n_parents for level in plan.levels] == [0, 0]
    assert list(plan.members.split(torch.zeros(0, 3))) == []


def test_large_codes_do_not_overflow():
    scene = np.repeat(np.arange(3000), 2).astype(np.int32)
    groups = np.tile(np.array([[2_000_000], [5]]), (3000, 1))
    order, plan = hierarchy_of(scene, groups)
    assert plan.members.runs == ((6000, 1),)
    assert plan.levels[0].siblings.runs == ((3000, 2),)
    assert len(order) == 6000


def test_padding_lengthens_on_the_left():
    x = torch.arange(1.0, 8.0)[None, :, None]
    assert pad_to_patches(x, 5)[0, :, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(pad_to_patches(x, 7), x)
    assert pad_to_patches(x > 0, 4).dtype == torch.bool


def test_to_casts_what_floats_and_leaves_the_rest():
    batch = pack(FLAT, make_content(FLAT, TASK)).to(torch.float32)
    assert batch.values.dtype == batch.known.dtype == torch.float32
    assert batch.present.dtype == torch.bool
    assert batch.types.dtype == batch.hierarchy.levels[0].order.dtype == torch.int64
    assert batch.to("cpu").hierarchy.members == FLAT.hierarchy.members


def test_to_moves_every_tensor():
    batch = pack(NESTED, make_content(NESTED, TASK)).to("meta")
    plan = batch.hierarchy
    tensors = [batch.values, batch.types, batch.scene, plan.group]
    tensors += [x for level in plan.levels for x in (level.order, level.inverse, level.parent)]
    (way,) = pack(CROSSED, make_content(CROSSED, TASK)).to("meta").hierarchy.crossed
    tensors += [way.order, way.inverse, way.hierarchy.group]
    assert {x.device.type for x in tensors} == {"meta"}


def test_rows_of_helpers_say_what_they_should():
    rows = Rows.of("b h h", "h", types="b")
    assert rows.types.tolist() == [1, 0, 0, 0]
    assert rows.scene.tolist() == [0, 0, 0, 1]
    assert rows.symmetry.order == 2


@pytest.mark.parametrize("rows", [FLAT, NESTED], ids=["flat", "nested"])
def test_some_scenes_of_a_batch_as_often_as_they_are_named(rows):
    batch = pack(rows, make_content(rows, task_for(rows)))
    batch = replace(batch, level=torch.arange(len(rows)).double()[:, None, None])
    named = [2, 0, 2, 1, 2]
    found, row = batch.take(torch.tensor(named))
    assert found.n_scenes == len(named)
    for number, scene in enumerate(named):
        mine, whole = row[found.scene == number], (batch.scene == scene).nonzero()[:, 0]
        assert torch.equal(mine.sort().values, whole)
    for name in ("values", "present", "past", "known", "static", "types", "level"):
        torch.testing.assert_close(
            getattr(found, name), getattr(batch, name)[row], rtol=0, atol=0, equal_nan=True
        )
    # The hierarchy is that of a batch made of these scenes from the start.
    user = torch.from_numpy(rows.order)[row].numpy()
    groups = path_codes(rows.groups)[user]
    order, plan = hierarchy_of(found.scene.numpy(), groups)
    assert order.tolist() == list(range(len(row)))  # it is packed
    check(found.scene.numpy(), groups, order, found.hierarchy)
    assert found.hierarchy.members == plan.members


def test_groups_of_every_level():
    batch = pack(NESTED, make_content(NESTED, task_for(NESTED)))
    scene, groups = NESTED.scene[NESTED.order], path_codes(NESTED.groups)[NESTED.order]
    found = batch.hierarchy.groups
    assert len(found) == groups.shape[1]
    for level, codes in enumerate(groups.T[::-1]):
        keys = scene * 1000 + codes
        same = found[level][:, None] == found[level]
        assert np.array_equal(same.numpy(), keys[:, None] == keys)
