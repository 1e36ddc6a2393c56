"""``hierforecast ssl evaluate``, against the library on features cut by hand."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from hierforecast.image_ssl.cli import task, tasks
from hierforecast.image_ssl.data import as_float
from hierforecast.image_ssl.data.named import open_masks, open_posed, open_set
from hierforecast.image_ssl.evaluation import (
    dense_probe,
    evaluate,
    probe_poses,
    probe_transformations,
    transformation_sets,
)
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.storage import load_backbone, save_backbone
from tests.image_ssl.cli.calling import call, complaint, evaluated, refused

# Of eight channels, a quarter is the invariant half.
CUT = {
    "all": lambda x: x.flatten(1),
    "invariant half": lambda x: x[:, :2].flatten(1),
    "equivariant half": lambda x: x[:, 2:].flatten(1),
}
QUIET = {"progress": False, "device": "cpu"}


def same(found, expected):
    """Whether a table is the library's, with what the commands put before it."""
    columns = list(expected.columns)
    pd.testing.assert_frame_equal(found[columns], expected, check_dtype=False, rtol=1e-6)


def test_probe_tells_both_halves(halved, tmp_path):
    shown = evaluated("probe", halved, "--out", tmp_path / "a" / "t.csv")
    table = pd.read_csv(tmp_path / "a" / "t.csv")
    sets = open_set("objects", 17), open_set("objects", 17, test=True)
    same(table, evaluate(load_backbone(halved), *sets, CUT, **QUIET))
    assert set(table.backbone) == {"halved"}
    assert "2 invariant half" in shown.stdout and "6 equivariant half" in shown.stdout


def test_transformations(halved, saved, tmp_path):
    arguments = ["--data", "shapes", "--size", 17, "--seed", 3, "--out", tmp_path / "t.csv"]
    chosen = ["--transformation", "colour", "--transformation", "flip"]
    plot = tmp_path / "new" / "t.png"
    shown = evaluated("transformations", halved, saved, *arguments, *chosen, "--plot", plot)
    assert plot.stat().st_size > 0
    table = pd.read_csv(tmp_path / "t.csv")
    sets = open_set("shapes", 17), open_set("shapes", 17, test=True)
    net, sought = load_backbone(halved), transformation_sets()
    for name in ("colour", "flip"):
        rows = table[(table.backbone == "halved") & (table.transformation == name)]
        expected = probe_transformations(net, *sets, sought[name], CUT, seed=3, **QUIET)
        same(rows.reset_index(drop=True), expected)
    turning = table[table.backbone == "net"]
    assert set(turning.features) == {"invariant", "equivariant"}, "it was not trained in halves"
    for number in table.score:
        assert f"{number:.4f}" in shown.stdout
    assert "colour, R2" in shown.stdout and "flip, accuracy" in shown.stdout


def test_all_transformations_at_once_are_told_apart(halved, tmp_path):
    few = ["--size", 17, "--transformation", "rot", "--transformation", "all"]
    shown = evaluated("transformations", halved, *few, "--out", tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table[table.transformation == "rot"].target.unique().tolist() == ["rotation"]
    assert table[table.transformation == "all"].target.nunique() == 6
    assert "rotation, R2" in shown.stdout and "rotation among all, R2" in shown.stdout
    assert "objects: 48 images to train on, 24 to test on" in shown.stderr


def test_each_transformation_alone_is_the_default(halved, monkeypatch):
    asked = []

    def look(net, train, test, augmentation, pools, **how):
        asked.append(augmentation)
        return pd.DataFrame()

    monkeypatch.setattr(tasks, "probe_transformations", look)
    with pytest.raises(AssertionError, match="KeyError"):  # there is nothing to show
        evaluated("transformations", halved)
    known = tasks.Transformations.known
    singles = ("rot", "colour", "blur", "translation", "crop", "flip")
    assert asked == [known[name] for name in singles]


def test_poses(halved, tmp_path):
    arguments = ["--seed", 2, "--out", tmp_path / "p.csv", "--plot", tmp_path / "p.png"]
    shown = evaluated("poses", halved, *arguments)
    sets = open_posed("objects", 17), open_posed("objects", 17, test=True)
    expected = probe_poses(load_backbone(halved), *sets, CUT, seed=2, **QUIET)
    same(pd.read_csv(tmp_path / "p.csv"), expected)
    assert "light direction, R2" in shown.stdout and (tmp_path / "p.png").stat().st_size > 0
    assert "'shapes' is no set of known poses" in refused("poses", halved, "--data", "shapes")


def test_retrieval_by_loops(halved, tmp_path):
    arguments = ["--out", tmp_path / "r.csv", "--plot", tmp_path / "r.png", "--images", 20]
    shown = evaluated("retrieval", halved, *arguments)
    assert "5 objects of 4 views" in shown.stderr and (tmp_path / "r.png").stat().st_size > 0
    table = pd.read_csv(tmp_path / "r.csv")
    images, _ = open_posed("objects", 17, test=True, images=20).__getitems__(list(range(20)))
    with torch.no_grad():
        features = load_backbone(halved)(as_float(images))
    for kind, cut in CUT.items():
        x, inverse, first = F.normalize(cut(features).double(), dim=1), 0.0, 0
        for query in range(20):
            others = [other for other in range(20) if other != query]
            others.sort(key=lambda other: -float(x[query] @ x[other]))
            place = 1 + min(k for k, o in enumerate(others) if o // 4 == query // 4)
            inverse, first = inverse + 1 / place / 20, first + (place == 1)
        rows = table[table.features == kind].set_index("metric").score
        assert rows["MRR"] == pytest.approx(inverse) and rows["hit@1"] == pytest.approx(first / 20)
    assert "chance" in shown.stdout and f"{table.chance.iloc[0]:.4f}" in shown.stdout


def test_retrieval_takes_objects_where_what_was_learned_from_has_none(saved, tmp_path):
    shown = evaluated("retrieval", saved, "--out", tmp_path / "r.csv")
    assert "objects: 6 objects of 4 views" in shown.stderr
    table = pd.read_csv(tmp_path / "r.csv").set_index(["features", "metric"])
    assert table.loc[("invariant", "MRR"), "queries"] == 24
    message = refused("retrieval", saved, "--data", "shapes")
    assert "give objects, objects:DEGREES, or threedie:ROOT" in message


def test_neighbours_are_drawn_among_some_of_many(halved, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(tasks, "GALLERY", 8)
    monkeypatch.setattr(tasks, "plot_neighbors", lambda *given: seen.append(given) or 1 / 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        evaluated("retrieval", halved, "--seed", 4, "--plot", tmp_path / "r.png")
    images, features, queries, k = seen[0]
    assert len(images) == 8 and list(queries) == [0, 4] and k == tasks.NEAREST
    with torch.no_grad():
        x = load_backbone(halved)(as_float(images))
    for kind, cut in CUT.items():
        torch.testing.assert_close(features[f"halved, {kind}"], cut(x))


def test_segment(halved, tmp_path):
    arguments = ["--seed", 5, "--images", 12, "--out", tmp_path / "m.csv"]
    evaluated("segmentation", halved, *arguments, "--plot", tmp_path / "m.png")
    table = pd.read_csv(tmp_path / "m.csv")
    sets = open_masks("shapes", 17, images=12), open_masks("shapes", 17, test=True)
    assert [len(images) for images in sets] == [12, 24]
    for kind, cut in (("invariant half", slice(2)), ("equivariant half", slice(2, None))):
        pool = lambda maps, cut=cut: maps[:, cut].flatten(1, 2)  # noqa: E731
        score = dense_probe(load_backbone(halved), *sets, pool, seed=5, **QUIET)
        rows = table[table.features == kind]
        means = rows[rows["class"].isna()].set_index("metric").score
        assert means["mIoU"] == pytest.approx(score.mean_iou)
        assert means["mAcc"] == pytest.approx(score.mean_accuracy)
        assert means["aAcc"] == pytest.approx(score.pixel_accuracy)
        each = rows[rows.metric == "IoU"]
        assert tuple(each["class"]) == score.classes
        torch.testing.assert_close(torch.tensor(each.score.to_numpy()), score.iou, equal_nan=True)
    assert (tmp_path / "m.png").stat().st_size > 0


def test_many_backbones_of_long_names_have_room(tmp_path):
    folders = [
        tmp_path / f"one_of_many_backbones_of_a_very_long_name_indeed_{number}"
        for number in range(4)
    ]
    for folder in folders:
        save_backbone(small_resnet("C1", 1, image_size=17), folder, {"data": "objects"})
    few = ["--size", 17, "--transformation", "rot"]
    shown = evaluated("transformations", *folders, *few, "--plot", tmp_path / "t.png")
    assert "…" not in shown.stdout, "names differ at their ends"
    evaluated("segmentation", *folders, "--images", 4, "--plot", tmp_path / "m.png")


def test_learning_curves(saved, tmp_path):
    result = evaluated("curve", saved, "--plot", tmp_path / "c.png", "--out", tmp_path / "c.csv")
    table = pd.read_csv(tmp_path / "c.csv")
    assert sorted(table.labels.unique()) == [8, 48] and table.seed.nunique() == 3
    best = table[table.labels == 48].accuracy
    assert f"{best.mean():.4f}" in result.stdout
    assert (tmp_path / "c.png").stat().st_size > 0


def test_few_labels_are_drawn_from_every_class(saved, monkeypatch):
    seen = []
    monkeypatch.setattr(tasks, "evaluate", lambda net, train, *given, **how: seen.append(train))
    with pytest.raises(AssertionError, match="AttributeError"):  # there is no table
        evaluated("probe", saved, "--labels", 16)
    assert seen[0].labels.bincount().tolist() == [2] * 8
    assert "1 to 48" in refused("probe", saved, "--labels", 49)


def test_show_draws_a_turning_map(saved, tmp_path):
    call("show", saved, "--out", tmp_path / "new" / "turning.png", "--image", 3)
    assert (tmp_path / "new" / "turning.png").stat().st_size > 0
    assert "no image 48" in complaint("show", saved, "--image", 48)
    save_backbone(small_resnet(), tmp_path / "plain")
    assert "give --data" in complaint("show", tmp_path / "plain")
    assert "plain network" in complaint("show", tmp_path / "plain", "--data", "shapes")


def test_a_plain_network_takes_any_size(tmp_path):
    save_backbone(small_resnet("C1", 2), tmp_path / "net", {"data": "shapes"})
    assert "48 images" in evaluated("probe", tmp_path / "net", "--size", 20).stderr


@pytest.mark.parametrize("verb", tasks.TASKS)
def test_errors_are_one_line(verb, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nowhere holds no backbone.json" in refused(verb, "nowhere")
    assert ".csv" in refused(verb, saved, "--out", "scores.xlsx")
    assert ".png" in refused(verb, saved, "--plot", "space.gif")
    assert "not exact" in refused(verb, saved, "--size", 32)
    assert "none of raise, skip" in refused(verb, saved, "--on-error", "pass")


def test_what_transformations_there_are(saved):
    message = refused("transformations", saved, "--transformation", "rotation")
    assert "'rotation' is none of rot, colour" in message
    message = refused("transformations", saved, "--transformation", "flip", "--plot", "a.png")
    assert "flip has an accuracy" in message


def test_options_of_other_tasks_are_refused(saved):
    given = {"labels": [5], "transformation": ["rot"], "test": ["shapes"], "test_split": ["val"]}
    assert set(given) == set(task.SPECIAL)
    for name, one in tasks.TASKS.items():
        for option in set(given) - set(one.takes):
            words = "--" + option.replace("_", "-"), *given[option]
            assert f"{words[0]} is no option of --task {name}" in refused(name, saved, *words)
    assert "none of probe, curve" in refused("judge", saved)


def test_both_definitions_of_r2_are_told(halved, tmp_path):
    few = ["--size", 9, "--images", 24, "--transformation", "rot", "--transformation", "blur"]
    shown = evaluated("transformations", halved, *few, "--out", tmp_path / "t.csv").stdout
    table = pd.read_csv(tmp_path / "t.csv")
    for number in table[table.dimensions > 1]["pooled R2"]:
        assert f"{number:.4f}" in shown
    assert "rotation, pooled R2" in shown and "blur, pooled R2" not in shown
    line = table[table.dimensions == 1]
    pd.testing.assert_series_equal(line["pooled R2"], line.score, check_names=False)
