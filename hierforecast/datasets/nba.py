"""NBA player tracking: SportVU scenes of the 2015-16 season, from two public preparations.

The original format of whole games is read by `hierforecast.datasets.sportvu`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from hierforecast._options import number, whole
from hierforecast.datasets import _socialvae
from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import (
    AGENTS,
    BY_ID,
    COURT,
    TEAM_SIZE,
    Floats,
    Integers,
    resample,
    strings,
    tracks_to_frame,
)
from hierforecast.errors import DataError
from hierforecast.frame.newsteps import TOLERANCE
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.limits import read_array

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
SOURCES = ("socialvae", "cle")

SOCIALVAE_FILE = RemoteFile(
    "nba/socialvae_487_games.tar.xz",
    "85962e6c50a82dc6a80549bf7627e88a61b2903b136dc6e793c0e2c49f1220c6",
    size=32082600,
)
SOCIALVAE_RATE = _socialvae.RATE
SOCIALVAE_COUNTS = {"games": 487, "scenes": 6838, "score": 3020, "rebound": 3818}
SOCIALVAE_STEPS = {"score": 296635, "rebound": 93396}
SOCIALVAE_SPLIT_GAMES = {"train": 351, "val": 39, "test": 97}  # split_games with its defaults

CLE_RATE = 5.0
CLE_REPOSITORY = (
    "https://raw.githubusercontent.com/tufts-ml/team-dynamics-time-series/"
    "b4d7c4c23c1999b188173ea5a93e9c00d4455be3/tests/artifacts/basketball/processed_data"
)


# SHA-256 and bytes of each file.
_CLE_SUMS = {
    "train": {
        "player_coords": (
            "4408c40f511ee17939f2e66602de95373c8ddc5be6d22e84cb1289c63ae83adb",
            3522688,
        ),
        "ball_coords": ("25cf351cd1e69e31ccdaf749cbd01121f183d2531f6267be6582eaaedd5b3ec6", 528512),
        "example_stop_idxs": (
            "0dc92079c2becf66038e4769963e573b42105994ab32bf05033c4580ab95dda4",
            1856,
        ),
    },
    "val": {
        "player_coords": (
            "05b5dfd90120e58aa3d686f45b716efb72283c19316a4776e5b98c3adb240736",
            1696448,
        ),
        "ball_coords": ("42974b0792ff7ec14174658fc0cdaca8f171ddfc12bf77eb784b902f8612db87", 254576),
        "example_stop_idxs": (
            "20982a534e17630c0efdfaaba1e941caa340382f93758ca2c1940ce20c67f0ab",
            1088,
        ),
    },
}
CLE_GAMES = {"train": 5, "val": 4}
CLE_FILES = {
    part: {
        what: RemoteFile(f"nba/cle_starters_5hz/{stem}", sha256, f"{CLE_REPOSITORY}/{stem}", size)
        for what, (sha256, size) in files.items()
        for stem in [f"{what}_{part}__with_{CLE_GAMES[part]}_games.npy"]
    }
    for part, files in _CLE_SUMS.items()
}
CLE_EXAMPLES = {"train": 215, "val": 119}
CLE_STEPS = {"train": 22016, "val": 10602}


@with_tracks
def load_nba(
    source: str = "socialvae",
    *,
    rate: float = 6.25,
    split: str | None = None,
    root: Path | str | None = None,
    kind: str | Collection[str] = "score",
    games: Iterable[str] | None = None,
    max_scenes: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Scenes of real NBA games: ball and ten players, all present, in feet.

    Args:
        source: ``"socialvae"`` (487 games, recorded at 100/12 = 8.33 Hz) or ``"cle"`` (9 games of
            Cleveland at 5 Hz; ``home`` is Cleveland, who attack the hoop on the left).
        rate: steps per second wanted. Exact picking where the recorded rate is a whole multiple,
            linear interpolation elsewhere (6.25 Hz, 0.16 s a step, is interpolated). ``"cle"``
            needs ``rate=5`` or less: no rate above the recorded one is made up.
        split: ``"train"``, ``"val"`` or ``"test"``, by game (`split_games`); None for all. The
            ``"cle"`` source has its own ``"train"`` and ``"val"`` and no test.
        root: a folder that holds ``nba/...``, or for ``"socialvae"`` the unpacked tree itself
            (a folder with ``score`` or ``rebound`` in it). Otherwise ``$HIERFORECAST_DATA``, the
            cache, the public address.
        kind: which scenes of ``"socialvae"``: ``"score"``, ``"rebound"``, or both in a tuple.
        games: only these game ids, e.g. ``["0021500431"]`` (``"socialvae"``).
        max_scenes: at most so many scenes, spread evenly over the sorted labels.
        progress: show a bar while much text is parsed.

    Returns:
        Columns ``scene, ds, unique_id, team, kind, x, y, game``; ``x, y`` are float32 feet,
        ``ds`` counts steps from 0 in each scene, ids are ``ball``, ``home_0``..``away_4``.
        Sorted by scene, ds and unique_id. A scene's label is ``GAME_quarter_start_end``, the last
        two being seconds left in the quarter. Scenes may overlap in time within one game.

    Raises:
        ValueError: an unknown source, split, kind or game, or a rate that is not positive or
            above the recorded one.
        FileNotFoundError: the data is not on this machine.
        DataError: a file is damaged; the message names it and the remedy.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be None or one of {SPLITS}, not {split!r}")
    if max_scenes is not None:
        max_scenes = whole("max_scenes", max_scenes)
    if source == "cle":
        if games is not None:
            raise ValueError("games cannot be chosen in source='cle': its files do not name them")
        scenes, native = _read_cle(split, root), CLE_RATE
    else:
        place = _socialvae_place(root)
        scenes, native = _socialvae.read(place, progress=progress), SOCIALVAE_RATE
        scenes = scenes.take(_chosen(scenes, place, split, kind, games))
    if max_scenes is not None and max_scenes < len(scenes.label):
        count = len(scenes.label)
        scenes = scenes.take(np.arange(max_scenes) * count // max_scenes)
    return _frame(scenes, native, rate)


def split_games(
    games: Iterable[str],
    seed: int = 0,
    fractions: Mapping[str, float] | tuple[float, float, float] = (0.72, 0.08, 0.20),
) -> dict[str, list[str]]:
    """Deal games to train, val and test, so that no game is in two.

    A game's part depends on its id and the seed only: it is the same in any selection of games,
    in any order and on any machine. The sizes are therefore close to the fractions, not exact.

    Args:
        games: game ids; repeated ids count once.
        seed: another seed deals anew.
        fractions: shares of train, val and test, of sum 1.

    Returns:
        Sorted ids under ``"train"``, ``"val"`` and ``"test"``.

    Raises:
        ValueError: if the fractions are negative or do not sum to 1.
    """
    shares = (
        [fractions.get(name, 0.0) for name in SPLITS]
        if isinstance(fractions, Mapping)
        else [float(share) for share in fractions]
    )
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"fractions are three shares of sum 1 (train, val, test), not {fractions}")
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for game in sorted(set(games)):
        digest = hashlib.sha256(f"{seed}:{game}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        part = "test" if place < shares[2] else "val" if place < shares[2] + shares[1] else "train"
        parts[part].append(game)
    return parts


def _frame(scenes: _socialvae.Scenes, native: float, rate: float) -> pd.DataFrame:
    if number("rate", rate) > native * (1 + TOLERANCE):
        raise ValueError(
            f"rate={rate:g} is above the {native:g} Hz of this source; steps in between would be "
            f"invented, and easy to forecast. Pass rate={native:g} or less"
        )
    tracks, lengths = resample(scenes.tracks, scenes.lengths, native, rate)
    agents = [AGENTS[slot] for slot in BY_ID]
    frame = tracks_to_frame(tracks[:, BY_ID], lengths, agents, scenes.label.tolist())
    games, code = np.unique(scenes.game, return_inverse=True)
    frame["game"] = strings(games.tolist(), np.repeat(code, lengths * len(agents)))
    return frame


# --- socialvae ------------------------------------------------------------------------------


def _socialvae_place(root: Path | str | None) -> Path:
    """The archive, or the unpacked tree if `root` is one or holds one."""
    if root is not None:
        for folder in (Path(root), Path(root) / "nba"):
            if any((folder / kind).is_dir() for kind in _socialvae.KINDS):
                return folder
    return locate(SOCIALVAE_FILE, root=root)


def _chosen(
    scenes: _socialvae.Scenes,
    place: Path,
    split: str | None,
    kind: str | Collection[str],
    games: Iterable[str] | None,
) -> Integers:
    """Numbers of the scenes chosen by the options."""
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    if not kinds or set(kinds) - set(_socialvae.KINDS):
        raise ValueError(f"kind must be among {_socialvae.KINDS}, not {kind!r}")
    known = set(scenes.game.tolist())
    wanted = known if games is None else set(games)
    if wanted - known:
        raise ValueError(
            f"games not in '{place}': {sorted(wanted - known)[:5]}; it has {len(known)} games"
        )
    if split is not None:
        wanted = set(split_games(wanted)[split])
    chosen = np.flatnonzero(np.isin(scenes.kind, kinds) & np.isin(scenes.game, sorted(wanted)))
    if not len(chosen):
        raise ValueError(f"no scene of kind={kinds}, split={split} and these games in '{place}'")
    return chosen


# --- cle ------------------------------------------------------------------------------------


def _read_cle(split: str | None, root: Path | str | None) -> _socialvae.Scenes:
    """The examples as scenes; their games are not told apart in the files."""
    if split == "test":
        raise ValueError("source='cle' has no test split: use 'val', or games of 'socialvae'")
    parts = [split] if split else list(CLE_FILES)
    read = [_read_cle_part(part, root) for part in parts]
    counts = [len(lengths) for _, lengths in read]
    label = [f"cle_{p}_{i:03d}" for p, n in zip(parts, counts, strict=True) for i in range(n)]
    return _socialvae.Scenes(
        label=np.array(label),
        kind=np.full(sum(counts), "example"),
        game=np.repeat([f"cle_{part}" for part in parts], counts),
        lengths=np.concatenate([lengths for _, lengths in read]),
        tracks=np.concatenate([tracks for tracks, _ in read]),
    )


def _read_cle_part(part: str, root: Path | str | None) -> tuple[Floats, Integers]:
    """Tracks ``(T, 11, 2)`` float32 feet and the lengths of the examples."""
    players, ball, stops = (
        read_array(locate(CLE_FILES[part][what], root=root))
        for what in ("player_coords", "ball_coords", "example_stop_idxs")
    )
    steps = len(players)
    good = (
        players.shape == (steps, 2 * TEAM_SIZE, 2)
        and ball.shape == (steps, 3)
        and stops.ndim == 1
        and len(stops) > 1
        and stops[0] == -1
        and stops[-1] in (steps - 1, steps)  # the last one overshoots the last row by one
        and bool((np.diff(stops) > 0).all())
    )
    if not good:
        raise DataError(
            f"the cle_starters_5hz files of '{part}' do not fit together: players "
            f"{players.shape}, ball {ball.shape}, stops {stops.shape}. Get all of them again."
        )
    tracks = np.concatenate([ball[:, None, :2], players], axis=1) * np.array(COURT)
    return tracks.astype(np.float32), np.diff(np.minimum(stops, steps - 1))
