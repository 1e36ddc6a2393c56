"""Frames that cannot be read as they are, each by the name of what is wrong with it."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd

from hierforecast import Columns
from tests.frame.cases import Case, long, put

CASES = {
    "text numbers": Case(
        long().assign(y=lambda f: f.y.astype(str)),
        r"column 'y' of the frame is not numeric \(its type is .*\); convert it",
        "write plain numbers in the column y",
    ),
    "infinite": Case(
        put(long(), "y", 30, np.inf),
        r"column 'y' .* 1 infinite values .*, the first at unique_id 'b', ds 2024-01-07",
        "leave the infinite cells of the column y empty",
    ),
    "null id": Case(
        put(long(), "unique_id", 47, None),
        r"column 'unique_id' of the frame has 1 null values, the first in row 47",
        "fill the empty cells of the column unique_id",
        last=(23, 122),
    ),
    "NaN id": Case(
        put(long(1.5, 2.5), "unique_id", 47, np.nan),
        r"column 'unique_id' of the frame has 1 null values, the first in row 47",
        "fill the empty cells",
        ids={1.5: 23, 2.5: 122},
    ),
    "mixed ids": Case(
        long("a", 1),
        r"column 'unique_id' of the frame mixes labels that cannot be compared",
        "write the column unique_id as text",
        ids=("1", "a"),
        only=("pandas",),
        last=(123, 23),
    ),
    "mixed ids that text confuses": Case(
        long("1", 1),
        r"column 'unique_id' of the frame mixes labels that cannot be compared",
        "write the column unique_id as text",
        ids=("'1'", "1"),
        only=("pandas",),
    ),
    "the same rows twice": Case(
        pd.concat([long(), long()[5:7]], ignore_index=True),
        r"^2 rows .* duplicated in \(unique_id, ds\), the first is unique_id 'a', ds 2024-01-06; "
        "they have the same targets, keep one row each",
        "keep one row for each unique_id, ds",
    ),
    "a delivery that overlaps another": Case(
        pd.concat([long(file="1.csv"), long(file="2.csv")[20:24]], ignore_index=True),
        r"^4 rows .*; they have the same targets, keep one row each",
        "keep one row for each unique_id, ds",
    ),
    "two figures for one time": Case(
        pd.concat([long(), long()[23:24].assign(y=33.0)], ignore_index=True),
        r"^1 rows .* their targets differ, make one of them, such as the mean",
        "write the mean of y for each unique_id, ds",
        last=(28, 123),
    ),
    "ids shared by stores": Case(
        pd.concat([long(store=1, row=range(48)), long(store=2, row=range(48))], ignore_index=True),
        r"^48 rows .* these rows differ in 'store': series that share an id are named by both",
        "--id store --id unique_id",
        ids={(1, "a"): 23, (1, "b"): 123, (2, "a"): 23, (2, "b"): 123},
    ),
    "scenes shared by games": Case(
        pd.concat([long(game=g, scene=s) for g in "AB" for s in (1, 2)], ignore_index=True),
        r"^96 rows .* differ in 'game': scenes that share a label are named by both",
        "--scene game --scene scene",
        columns=Columns(group=None, scene="scene"),
    ),
    "ids shared within a scene": Case(
        pd.concat([long(side=s, scene=1) for s in "AB"] + [long("c", side="C", scene=1)]),
        r"^48 rows .* differ in 'side': series that share an id are named by both",
        "--id side --id unique_id",
        ids={("A", "a"): 23, ("A", "b"): 123, ("B", "a"): 23, ("B", "b"): 123, ("C", "c"): 23},
        columns=Columns(group=None, scene="scene"),
    ),
    "ids shared by two columns": Case(
        pd.concat([long(city=c, shop=s) for c in "xy" for s in (1, 2)], ignore_index=True),
        r"these rows differ in 'city' and 'shop'",
        "--id city --id shop --id unique_id",
        ids={(c, s, i): v for c in "xy" for s in (1, 2) for i, v in (("a", 23), ("b", 123))},
    ),
    "ids shared by groups": Case(
        long("a", "a", group=["g"] * 24 + ["h"] * 24),
        r"these rows differ in 'group'",
        "--id group --id unique_id",
        ids={("g", "a"): 23, ("h", "a"): 123},
        columns=Columns(),
    ),
    "a series in two groups": Case(
        long(group=["g"] * 20 + ["h"] * 28),
        r"^series 'a' is in two groups of column 'group', 'g' and 'h'",
        "--id group --id unique_id",
        ids={("g", "a"): 19, ("h", "a"): 23, ("h", "b"): 123},
        columns=Columns(),
    ),
    "never both targets": Case(
        long().assign(
            x=lambda f: f.y.where(f.ds.dt.day % 2 == 1), y=lambda f: f.y.where(f.x.isna())
        ),
        r"no row of the frame has all the targets \['y', 'x'\]",
        "--target y",
        columns=Columns(target=["y", "x"], group=None),
    ),
    "static that changes": Case(
        long(price=range(48)),
        r"static column 'price' changes within series 'a'",
        "--past price leave out --static",
        columns=Columns(group=None, static=["price"]),
    ),
    "no group": Case(
        long(),
        r"^the frame has no column 'group' for the role 'group'; it has 'unique_id', 'ds', 'y'",
        "leave out --group",
        columns=Columns(),
    ),
    "other names": Case(
        long().rename(columns={"unique_id": "ticker", "ds": "date", "y": "close"}),
        r"^the frame has no column 'unique_id' for the role 'id'; it has 'ticker', 'date', 'close'",
        "--id ticker --time date --target close leave out --group",
        columns=Columns(),
    ),
    "nearly the name": Case(
        long().rename(columns={"unique_id": "Unique_ID", "y": "Y"}),
        r"no column 'unique_id' \(did you mean 'Unique_ID'\?\)",
        "--id Unique_ID --target Y",
    ),
    "one series": Case(
        long("a")[["ds", "y"]],
        r"no column 'unique_id' for the role 'id'; .*its rows are one series, give them an id",
        "--file-column unique_id",
        ids={"series": 23},
    ),
    "one series, other names": Case(
        long("a")[["ds", "y"]].rename(columns={"ds": "day", "y": "sales"}),
        r"no column 'unique_id' .*give them an id",
        "--file-column unique_id, --time day --target sales leave out --group",
        columns=Columns(),
        ids={"series": 23},
    ),
    "wide by series": Case(
        long().pivot(index="ds", columns="unique_id", values="y").reset_index().assign(note="n"),
        r"no column 'unique_id' .*it has a column for each series, make it long",
        "make it long: --wide, leave out --group",
        columns=Columns(),
    ),
    "wide, nothing named": Case(
        long()
        .pivot(index="ds", columns="unique_id", values="y")
        .reset_index()
        .assign(ds=lambda f: f.ds.dt.strftime("%d/%m/%Y"))
        .rename(columns={"ds": "Day"}),
        r"no column 'unique_id' .*it has a column for each series, make it long",
        "--wide, --date-format '%d/%m/%Y', --time Day",
        columns=Columns(),
    ),
    "wide by months, two columns name a series": Case(
        pd.concat([long(shop=s) for s in (1, 2)])
        .assign(ds=np.tile(pd.period_range("2022-01", periods=24, freq="M").astype(str), 4))
        .rename(columns={"unique_id": "item"})
        .assign(shop=lambda f: "s" + f.shop.astype(str))
        .pivot(index=["item", "shop"], columns="ds", values="y")
        .reset_index(),
        r"no column 'ds' .*it has a column for each time, make it long",
        "--wide, --date-format '%Y-%m'",
        columns=Columns(id=["item", "shop"], group=None),
        ids={(i, f"s{s}"): v for s in (1, 2) for i, v in (("a", 23), ("b", 123))},
        start="2024-01-01",
    ),
    "wide by dates": Case(
        long()
        .assign(ds=lambda f: f.ds.astype(str))
        .pivot(index="unique_id", columns="ds", values="y")
        .reset_index(),
        r"no column 'ds' .*it has a column for each time, make it long",
        "--wide, write dates such as 2024-01-31",
    ),
    "names with a number for each time": Case(
        long()
        .assign(ds=lambda f: "d_" + f.groupby("unique_id").cumcount().astype(str))
        .pivot(index="unique_id", columns="ds", values="y")
        .reset_index(),
        r"no column 'ds' .*it has 'unique_id', 'd_0', .*it has a column for each time",
        "write whole numbers in the column ds",
        start="24",
    ),
    "years": Case(
        long()
        .assign(ds=lambda f: (2000 + f.groupby("unique_id").cumcount()).astype(str))
        .pivot(index="unique_id", columns="ds", values="y")
        .reset_index(),
        r"it has a column for each time",
        "write whole numbers in the column ds",
        start="2024",
    ),
    "months": Case(
        long()
        .assign(ds=np.tile(pd.period_range("2022-01", periods=24, freq="M").astype(str), 2))
        .pivot(index="unique_id", columns="ds", values="y")
        .reset_index(),
        r"it has a column for each time",
        "--wide, --date-format '%Y-%m'",
        start="2024-01-01",
    ),
    "wide, dates as text": Case(
        long()
        .pivot(index="ds", columns="unique_id", values="y")
        .reset_index()
        .assign(ds=lambda f: f.ds.dt.strftime("%Y/%m/%d")),
        r"it has a column for each series",
        "write dates such as 2024-01-31 in the column ds",
    ),
    "numbers alone": Case(
        pd.DataFrame({"a": np.arange(24.0), "b": np.arange(24.0) + 100}),
        r"no column 'unique_id' .*it has a column for each series",
        "write ds as a column, --wide",
        start="24",
    ),
    "one column of numbers": Case(
        pd.DataFrame({"y": np.arange(24.0)}),
        r"no column 'unique_id' .*its rows are one series, give them an id",
        "write ds as a column, --file-column unique_id",
        ids={"series": 23},
        start="24",
    ),
    "two columns that name a series": Case(
        pd.concat([long(shop=s).set_axis(["item", "ds", "sold", "shop"], axis=1) for s in (1, 2)]),
        r"no column 'unique_id' .*it has 'item', 'ds', 'sold', 'shop'; name yours",
        "--id item --id shop --target sold",
        ids={(i, s): v for s in (1, 2) for i, v in (("a", 23), ("b", 123))},
    ),
    "a pivot table": Case(
        long().pivot_table(index="ds", columns="unique_id", values=["y"]),
        r"no column 'unique_id' .*it has a column for each series",
        "write one line of names, write ds as a column, --wide",
        only=("pandas",),
    ),
    "periods in the index": Case(
        long()
        .assign(ds=lambda f: f.ds.dt.to_period("D"))
        .pivot(index="ds", columns="unique_id", values="y")
        .rename_axis(index=None),
        r"no column 'unique_id' .*it has a column for each series",
        "write ds as a column",
        only=("pandas",),
    ),
    "a name twice": Case(
        pd.concat([long(), long()[["y"]]], axis=1),
        r"^the frame has a column name twice \(.*'y' 2 times.*\); rename one, or keep the first",
        "give each column its own name",
        only=("pandas",),
    ),
    "some text among numbers": Case(
        put(long().assign(y=lambda f: f.y.astype(str)), "y", 47, "n/a"),
        r"column 'y' .*; 1 of its cells are no numbers, the first is 'n/a' in row 47",
        "write plain numbers, or nothing where one is missing, in the column y",
        last=(23, 122),
    ),
    "a decimal comma": Case(
        long().assign(y=lambda f: (f.y + 1000.5).map("{:.1f}".format).str.replace(".", ",")),
        r"column 'y' of the frame is not numeric \(its type is .*\); convert it",
        "--decimal , --thousands .",
        last=(1023.5, 1123.5),
    ),
    "a thousands' comma": Case(
        long().assign(y=lambda f: (f.y + 1000).map("{:,.2f}".format)),
        r"column 'y' of the frame is not numeric \(its type is .*\); convert it",
        "convert it: --thousands ,",
        last=(1023, 1123),
    ),
    "decimals as objects": Case(
        long().assign(y=lambda f: f.y.map(Decimal)),
        r"column 'y' of the frame is not numeric \(its type is object\); convert it",
        "write plain numbers",
        only=("pandas",),
    ),
    "id and time in the index": Case(
        long().set_index(["unique_id", "ds"]),
        r"no column 'unique_id' \(it is the frame's index: call reset_index\(\) first\)",
        "write unique_id, ds as a column",
        only=("pandas",),
    ),
    "series beside a nameless index": Case(
        long().pivot(index="ds", columns="unique_id", values="y").rename_axis(index=None),
        r"no column 'unique_id' .*it has 'a', 'b'; it has a column for each series",
        "write ds as a column, --wide",
        only=("pandas",),
    ),
}
