"""iNaturalist: files and classes by its annotations, and annotations that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import INaturalist, UnreadableImageWarning
from tests.image_ssl.data.pictures import picture


@pytest.fixture
def inaturalist(tmp_path: Path) -> Path:
    """Two supercategories, three species (one without images), one image in another split."""
    rows = [(7, "Aves/12", 12), (3, "Plantae/5", 5), (9, "Aves/12", 12)]
    images = []
    for number, folder, species in rows:
        name = f"train_val2018/{folder}/{number}.jpg"
        picture(tmp_path / name, (species, number, 0))
        images.append({"id": number, "file_name": name, "width": 12, "height": 8})
    table = {
        "images": images,
        # In another order than the images: they are joined by id.
        "annotations": [
            {"id": i, "image_id": n, "category_id": c} for i, (n, _, c) in enumerate(reversed(rows))
        ],
        "categories": [
            {"id": 12, "name": "12", "supercategory": "Aves"},
            {"id": 5, "name": "5", "supercategory": "Plantae"},
            {"id": 8, "name": "8", "supercategory": "Aves"},
        ],
    }
    (tmp_path / "train2018.json").write_text(json.dumps(table))
    picture(tmp_path / "train_val2018" / "Aves" / "12" / "of_the_other_split.jpg")
    return tmp_path


def test_inaturalist(inaturalist):
    images = INaturalist(inaturalist, 8)
    assert images.classes == ("5", "8", "12")
    assert images.labels.tolist() == [2, 0, 2]
    assert images[1][0][0].float().mean() == pytest.approx(5, abs=4)
    assert [Path(file).stem for file in images.files] == ["7", "3", "9"]
    elsewhere = (inaturalist / "train2018.json").rename(inaturalist / "other.json")
    assert len(INaturalist(inaturalist, 8, annotations=elsewhere)) == 3
    with pytest.raises(DataError, match=r"no annotation file .*val2018\.json"):
        INaturalist(inaturalist, 8, "val")


def test_inaturalist_files_that_are_listed_but_missing(inaturalist):
    (inaturalist / "train_val2018/Plantae/5/3.jpg").unlink()
    with pytest.raises(DataError, match=r"3\.jpg"):
        INaturalist(inaturalist, 8)[1]
    with pytest.warns(UnreadableImageWarning, match="1 of 3"):
        images = INaturalist(inaturalist, 8, on_error="skip")
    assert images.labels.tolist() == [2, 2] and len(images.classes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop("categories"), r"has no \['categories'\]"),
        (lambda table: table["annotations"].pop(), "lacks its category"),
        (lambda table: table["images"][0].pop("file_name"), "file_name"),
        (lambda table: table["images"].clear(), "lists no images"),
    ],
)
def test_inaturalist_annotations_that_are_none(inaturalist, change, message):
    path = inaturalist / "train2018.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    with pytest.raises(DataError, match=message):
        INaturalist(inaturalist, 8)
    path.write_text(path.read_text()[:50])
    with pytest.raises(DataError, match="not JSON"):
        INaturalist(inaturalist, 8)


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg"])
def test_inaturalist_names_that_point_elsewhere(name, inaturalist):
    path = inaturalist / "train2018.json"
    table = json.loads(path.read_text())
    table["images"][1]["file_name"] = name
    path.write_text(json.dumps(table))
    with pytest.raises(DataError, match=rf"train2018\.json' has the file_name '{name}', wh"):
        INaturalist(inaturalist, 8)
    path.write_text("[" * 10**5)
    with pytest.raises(DataError, match=r"train2018\.json' is damaged \(nested too deeply\)"):
        INaturalist(inaturalist, 8)
