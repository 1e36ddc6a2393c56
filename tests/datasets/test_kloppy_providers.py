"""`from_kloppy` on the sample files of kloppy's own tests, through kloppy's loaders.

The wheel of kloppy 3.19 holds them, versions before it do not: elsewhere put
``kloppy/tests/files`` of that wheel at ``kloppy/`` in the folder of real data.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import from_kloppy
from hierforecast.datasets._tracks import COLUMNS
from hierforecast.errors import DataError

kloppy = pytest.importorskip("kloppy", reason="the extra 'sports' is not installed")
if tuple(map(int, kloppy.__version__.split(".")[:2])) < (3, 18):
    pytest.skip(f"kloppy {kloppy.__version__} does not read them all", allow_module_level=True)


class Sample(NamedTuple):
    """A provider's files: how kloppy reads them, and what it holds to be in them.

    Args:
        load: name of a function of kloppy's module.
        files: argument -> file, or files.
        options: of the loader.
        rate: frames a second.
        own: the provider's own coordinates.
    """

    load: str
    files: dict[str, Any]
    options: dict[str, Any]
    rate: float
    own: str


SECOND_SPECTRUM = {
    "meta_data": "second_spectrum_fake_metadata.xml",
    "raw_data": "second_spectrum_fake_data.jsonl",
}
MA25 = {"ma25_data": "statsperform_tracking_ma25.txt"}
SAMPLES = {
    "hawkeye": Sample(
        "hawkeye.load",
        {
            "ball_feeds": "hawkeye_1_1.football.samples.ball",
            "player_centroid_feeds": "hawkeye_1_1.football.samples.centroids",
            "meta_data": "hawkeye_meta.xml",
        },
        {"limit": 200},
        50,
        "hawkeye",
    ),
    "metrica-csv": Sample(
        "metrica.load_tracking_csv",
        {"home_data": "metrica_home.csv", "away_data": "metrica_away.csv"},
        {},
        25,
        "metrica",
    ),
    "metrica-epts": Sample(
        "metrica.load_tracking_epts",
        {"meta_data": "epts_metrica_metadata.xml", "raw_data": "epts_metrica_tracking.txt"},
        {},
        25,
        "metrica",
    ),
    "pff": Sample(
        "pff.load_tracking",
        {
            "meta_data": "pff_metadata_3812.json",
            "roster_meta_data": "pff_rosters_3812.json",
            "raw_data": "pff_3812.jsonl",
        },
        {},
        29.97,
        "pff",
    ),
    "secondspectrum": Sample("secondspectrum.load", SECOND_SPECTRUM, {}, 25, "secondspectrum"),
    "secondspectrum-more": Sample(
        "secondspectrum.load",
        SECOND_SPECTRUM | {"additional_meta_data": "second_spectrum_fake_metadata.json"},
        {},
        25,
        "secondspectrum",
    ),
    "signality": Sample(
        "signality.load",
        {
            "meta_data": "signality_meta_data.json",
            "raw_data_feeds": [
                "signality_p1_raw_data_subset.json",
                "signality_p2_raw_data_subset.json",
            ],
            "venue_information": "signality_venue_information.json",
        },
        {},
        25,
        "signality",
    ),
    "skillcorner": Sample(
        "skillcorner.load",
        {
            "meta_data": "skillcorner_match_data.json",
            "raw_data": "skillcorner_structured_data.json",
        },
        {"limit": 3_000},
        10,
        "skillcorner",
    ),
    "sportec": Sample(
        "sportec.load_tracking",
        {"meta_data": "sportec_meta.xml", "raw_data": "sportec_positional.xml"},
        {},
        25,
        "sportec",
    ),
    "statsperform-json": Sample(
        "statsperform.load_tracking",
        MA25 | {"ma1_data": "statsperform_tracking_ma1.json"},
        {"tracking_system": "sportvu", "pitch_length": 105.0, "pitch_width": 68.0},
        10,
        "sportvu",
    ),
    "statsperform-xml": Sample(
        "statsperform.load_tracking",
        MA25 | {"ma1_data": "statsperform_tracking_ma1.xml"},
        {"tracking_system": "sportvu", "pitch_length": 105.0, "pitch_width": 68.0},
        10,
        "sportvu",
    ),
    "tracab-dat": Sample(
        "tracab.load",
        {"meta_data": "tracab_meta.xml", "raw_data": "tracab_raw.dat"},
        {"only_alive": False},
        25,
        "tracab",
    ),
    "tracab-json": Sample(
        "tracab.load",
        {"meta_data": "tracab_meta.json", "raw_data": "tracab_raw.json"},
        {},
        25,
        "tracab",
    ),
}


@pytest.fixture(scope="module")
def samples(request: pytest.FixtureRequest) -> Path:
    """The folder of kloppy's sample files: its own, or beside the real data."""
    own = Path(kloppy.__file__).parent / "tests" / "files"
    if own.is_dir():
        return own
    folder = request.getfixturevalue("shared_data") / "kloppy"
    return folder if folder.is_dir() else pytest.skip("the sample files of kloppy are not here")


def load(samples: Path, sample: Sample, **options: Any) -> Any:
    """A data set of kloppy's."""

    def place(names: Any) -> Any:
        if isinstance(names, list):
            return [place(name) for name in names]
        path = samples / names
        return str(path) if path.exists() else pytest.skip(f"{path} is not there")

    module, name = sample.load.split(".")
    read: Callable[..., Any] = getattr(import_module(f"kloppy.{module}"), name)
    files = {argument: place(names) for argument, names in sample.files.items()}
    with warnings.catch_warnings():
        # Of what a sample leaves open, such as who plays in which direction, and of files that
        # kloppy 3.19 does not close.
        warnings.simplefilter("ignore")
        dataset = read(**files, **{**sample.options, **options})
        gc.collect()
    return dataset


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_provider_becomes_rows(samples, name):
    sample = SAMPLES[name]
    dataset = load(samples, sample)
    frame = from_kloppy(dataset)
    assert list(frame.columns) == list(COLUMNS)
    assert dataset.metadata.frame_rate == sample.rate
    people = [data for each in dataset.frames for data in each.players_data.values()]
    seen = [data for data in people if data.coordinates and np.isfinite(data.coordinates.x)]
    assert (frame["kind"] != "ball").sum() == len(seen) > 0
    named = [player for team in dataset.metadata.teams for player in team.players]
    keepers = {one.player_id for one in named if "Goalkeeper" in str(one.starting_position)}
    assert set(frame[frame["kind"] == "goalkeeper"].unique_id) <= keepers
    assert set(frame[frame["kind"] == "player"].unique_id).isdisjoint(keepers)
    assert set(frame["team"]) == {"ball", "home", "away"}
    assert not frame.duplicated(["scene", "ds", "unique_id"]).any()
    sides = frame[frame["kind"] != "ball"].groupby(["scene", "ds", "team"]).size()
    assert sides.max() <= 11
    assert np.isfinite(frame[["x", "y"]]).all(axis=None)
    inside = (frame["x"].abs() < 60) & (frame["y"].abs() < 45)
    assert inside.mean() > 0.99 and frame["x"].abs().max() > 10, "meters from the center"


@pytest.mark.parametrize("name", list(SAMPLES))
def test_the_provider_s_own_coordinates_say_the_same(samples, name):
    sample = SAMPLES[name]
    usual = from_kloppy(load(samples, sample))
    own = from_kloppy(load(samples, sample, coordinates=sample.own))
    pd.testing.assert_frame_equal(own, usual, check_exact=False, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["hawkeye", "metrica-epts", "secondspectrum", "sportec"])
def test_players_move_as_fast_as_people_do(samples, name):
    sample = SAMPLES[name]
    frame = from_kloppy(load(samples, sample)).sort_values(["scene", "unique_id", "ds"])
    steps = frame[frame["kind"] != "ball"].groupby(["scene", "unique_id"])
    moved = np.hypot(steps["x"].diff(), steps["y"].diff())
    speed = (moved / steps["ds"].diff() * sample.rate).dropna()
    assert 0.1 < speed.median() < 7 and speed.quantile(0.95) < 12


def test_a_lower_rate_of_a_provider(samples):
    dataset = load(samples, SAMPLES["metrica-epts"])
    assert dataset.metadata.frame_rate == 25
    whole, fifth = from_kloppy(dataset), from_kloppy(dataset, rate=5)
    kept = whole[whole["ds"] % 5 == 0].assign(ds=lambda frame: frame["ds"] // 5)
    pd.testing.assert_frame_equal(fifth, kept.reset_index(drop=True))


def test_pauses_that_kloppy_leaves_out_are_named(samples):
    with pytest.raises(DataError, match=r"no frame .* only_alive=False"):
        from_kloppy(load(samples, SAMPLES["tracab-dat"], only_alive=True))


def test_a_period_beside_the_pitch_is_refused(samples):
    """kloppy turns the extra time of PFF around a corner of the pitch, not around its center."""
    extra = SAMPLES["pff"]._replace(
        files={name: file.replace("3812", "10517") for name, file in SAMPLES["pff"].files.items()}
    )
    with pytest.raises(DataError, match=r"period 3 is played beside the pitch.*coordinates='pff'"):
        from_kloppy(load(samples, extra))
    frame = from_kloppy(load(samples, extra, coordinates="pff"))
    assert frame["scene"].nunique() == 4 and frame[["x", "y"]].abs().max().max() < 60
