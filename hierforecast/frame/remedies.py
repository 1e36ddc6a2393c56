"""What mends a frame: code that runs in the caller's library, and words for the command line.

A recipe is an expression in which `{it}` stands for the column (`CONVERSIONS`) or for the whole
frame (`REBUILDS`). Where it has no code for pyarrow it goes through pandas. Tests run every recipe
on a frame whose error gives it.
"""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from typing import Any, NamedTuple

from hierforecast.errors import Remedy
from hierforecast.frame.columns import Columns, plain


class Recipe(NamedTuple):
    """One remedy in the words of each library and of the command line."""

    pandas: str
    polars: str
    options: str
    pyarrow: str | None = None


CONVERSIONS = {
    "numbers": Recipe(
        "pd.to_numeric({it}).astype('float64')",
        "{it}.cast(pl.String).cast(pl.Float64)",
        "write plain numbers in the column {column}",
        "{it}.cast('string').cast('float64')",
    ),
    "thousands_comma": Recipe(
        "pd.to_numeric({it}.astype(str).str.replace(',', ''))",
        "{it}.cast(pl.String).str.replace_all(',', '').cast(pl.Float64)",
        "--thousands ,",
    ),
    "decimal_comma": Recipe(
        "pd.to_numeric({it}.astype(str).str.replace('.', '').str.replace(',', '.'))",
        "{it}.cast(pl.String).str.replace_all('.', '', literal=True).str.replace(',', '.')"
        ".cast(pl.Float64)",
        "--decimal , --thousands .",
    ),
    "numbers_or_missing": Recipe(
        "pd.to_numeric({it}, errors='coerce').astype('float64')",
        "{it}.cast(pl.String).cast(pl.Float64, strict=False)",
        "write plain numbers, or nothing where one is missing, in the column {column}",
    ),
    "text": Recipe(
        "{it}.astype('string')",
        "{it}.cast(pl.String)",
        "write the column {column} as text",
        "{it}.cast('string')",
    ),
    "from_zero": Recipe(
        "{it} - {it}.min()",
        "{it} - {it}.min()",
        "count the column {column} from its first step",
        "pc.subtract({it}, pc.min({it}))",
    ),
    "quoted": Recipe("{it}.map(repr)", "{it}.cast(pl.String)", "write the column {column} as text"),
    "whole_text": Recipe(
        "{it}.astype('Int64').astype('string')",
        "{it}.cast(pl.Int64).cast(pl.String)",
        "write the column {column} as whole numbers",
        "{it}.cast('int64').cast('string')",
    ),
    "whole_labels": Recipe(
        "{it}.astype(str).astype('int64').astype('category')",
        "{it}.cast(pl.String).cast(pl.Int64)",
        "write the column {column} as whole numbers",
        "{it}.cast('string').cast('int64').dictionary_encode()",
    ),
    "spelled_truth": Recipe(
        "{it}.astype(str).str.lower() == 'true'",
        "{it}.cast(pl.String).str.to_lowercase() == 'true'",
        "write the column {column} as True and False",
    ),
    "truth": Recipe(
        "{it}.astype(bool)",
        "{it}.cast(pl.Boolean)",
        "write the column {column} as True and False",
        "{it}.cast('bool')",
    ),
    "numbered": Recipe(
        "{it}.str.extract(r'(\\d+)$')[0].astype('int64')",
        "{it}.str.extract(r'(\\d+)$').cast(pl.Int64)",
        "write whole numbers in the column {column}",
    ),
    "finite": Recipe(
        "{it}.where({it}.abs() < 1e38)",
        "pl.when({it}.abs() < 1e38).then({it})",
        "leave the infinite cells of the column {column} empty, which means missing",
        "pc.if_else(pc.less(pc.abs({it}), 1e38), {it}, None)",
    ),
    "floats": Recipe(  # rounds, where it must
        "{it}.astype('float64')",
        "{it}.cast(pl.Float64)",
        "write plain numbers of at most 15 digits in the column {column}",
        "pc.cast({it}, 'float64', safe=False)",
    ),
}
REBUILDS = {
    "drop_nulls": Recipe(
        "{it}.dropna(subset=[{column!r}])",
        "{it}.drop_nulls({column!r})",
        "fill the empty cells of the column {column}, e.g. --fill {column}=none",
        "{it}.filter(pc.is_valid({it}[{column!r}]))",
    ),
    "drop_nans": Recipe(  # of floats, where polars and pyarrow tell null and NaN apart
        "{it}.dropna(subset=[{column!r}])",
        "{it}.filter(pl.col({column!r}).is_not_nan())",
        "fill the empty cells of the column {column}, e.g. --fill {column}=none",
        "{it}.filter(pc.invert(pc.is_null({it}[{column!r}], nan_is_null=True)))",
    ),
    "drop_duplicates": Recipe(
        "{it}.drop_duplicates({keys!r})",
        "{it}.unique({keys!r}, keep='first', maintain_order=True)",
        "keep one row for each {keys}",
    ),
    "average": Recipe(
        "{it}.groupby({keys!r}, as_index=False, sort=False, observed=True).agg("
        "lambda column: column.mean() if column.name in {targets!r} else column.iloc[0])",
        "{it}.group_by({keys!r}, maintain_order=True).agg("
        "pl.col({targets!r}).fill_nan(None).mean(), pl.exclude({targets!r}).first())",
        "write the mean of {targets} for each {keys}",
    ),
    "keep": Recipe(
        "{it}[{it}[{column!r}].isin({labels!r})]",
        "{it}.filter(pl.col({column!r}).is_in({labels!r}))",
        "drop the rows whose {column} is not {labels}",
        "{it}.filter(pc.is_in({it}[{column!r}], pa.array({labels!r})))",
    ),
    "reset_index": Recipe("{it}.reset_index({levels!r})", "", "write {levels} as a column"),
    "name_index": Recipe(
        "{it}.rename_axis(index={column!r}).reset_index()", "", "write {column} as a column"
    ),
    "name_periods": Recipe(
        "{it}.to_timestamp().rename_axis(index={column!r}).reset_index()",
        "",
        "write {column} as a column",
    ),
    "count_rows": Recipe(
        "{it}.assign(**{{{column!r}: range(len({it}))}})",
        "{it}.with_row_index({column!r})",
        "write {column} as a column",
        "{it}.append_column({column!r}, pa.array(range({it}.num_rows)))",
    ),
    "drop_level": Recipe("{it}.droplevel(0, axis=1)", "", "write one line of names"),
    "first_columns": Recipe(
        "{it}.loc[:, ~{it}.columns.duplicated()]",
        "",
        "give each column its own name",
        "{it}.select([i for i, n in enumerate({it}.column_names) "
        "if {it}.column_names.index(n) == i])",
    ),
    "rename": Recipe(
        "{it}.rename(columns={names!r})",
        "{it}.rename({names!r})",
        "give the columns the names of the other table",
        "{it}.rename_columns([{names!r}.get(n, n) for n in {it}.column_names])",
    ),
    "one_series": Recipe(
        "{it}.assign(**{{{column!r}: 'series'}})",
        "{it}.with_columns(pl.lit('series').alias({column!r}))",
        "--file-column {column}",
        "{it}.append_column({column!r}, pa.array(['series'] * {it}.num_rows))",
    ),
    "melt": Recipe(
        "{it}.melt({kept!r}, var_name={name!r}, value_name={value!r})",
        "{it}.unpivot(index={kept!r}, variable_name={name!r}, value_name={value!r})",
        "--wide",
    ),
}


def padded(width: int) -> Recipe:
    """Whole numbers as text of one width: 7 becomes 007."""
    return Recipe(
        f"{{it}}.astype('string').str.zfill({width})",
        f"{{it}}.cast(pl.String).str.zfill({width})",
        f"write the column {{column}} with {width} digits",
        f"pc.utf8_lpad({{it}}.cast('string'), {width}, '0')",
    )


def convert(library: str, recipe: str | Recipe, column: str, variable: str = "frame") -> Remedy:
    """A remedy that replaces a column.

    Args:
        library: ``"pandas"``, ``"polars"`` or ``"pyarrow"``.
        recipe: of `CONVERSIONS`, or its name there.
        column: its name.
        variable: what code calls the frame.
    """
    words = CONVERSIONS[recipe] if isinstance(recipe, str) else recipe
    name = repr(column)
    options = words.options.format(column=column)
    cell = f"{variable}[{name}]"
    if library == "polars":
        new = words.polars.format(it=f"pl.col({name})")
        return Remedy(f"{variable} = {variable}.with_columns({new})", options)
    if library == "pandas":
        new = words.pandas.format(it=cell)
        return Remedy(f"{variable} = {variable}.assign(**{{{name}: {new}}})", options)
    if words.pyarrow is not None:
        new = words.pyarrow.format(it=cell)
    else:
        new = words.pandas.format(it=f"{cell}.to_pandas()")
        new = f"pa.array({new})"
    at = f"{variable}.column_names.index({name})"
    return Remedy(f"{variable} = {variable}.set_column({at}, {name}, {new})", options)


def rebuild(library: str, recipe: str | Recipe, variable: str = "frame", **words: Any) -> Remedy:
    """A remedy that replaces the whole frame.

    Args:
        library: ``"pandas"``, ``"polars"`` or ``"pyarrow"``.
        recipe: of `REBUILDS`, or its name there.
        variable: what code calls the frame.
        words: for the placeholders of the recipe.
    """
    of = REBUILDS[recipe] if isinstance(recipe, str) else recipe
    new = {"pandas": of.pandas, "polars": of.polars, "pyarrow": of.pyarrow}[library]
    if new is None:
        new = of.pandas.format(it=f"{variable}.to_pandas()", **words)
        new = f"pa.Table.from_pandas({new}, preserve_index=False)"
    else:
        new = new.format(it=variable, **words)
    names = {k: ", ".join(v) if isinstance(v, list) else v for k, v in words.items()}
    return Remedy(f"{variable} = {new}", of.options.format(**names))


ROLES = "columns = "
FLAGS = {"past_covariates": "past", "known_covariates": "known", "group_type": "group-type"}


def assign_roles(columns: Columns, **changes: Any) -> Remedy:
    """A remedy that gives columns other roles."""
    changed = replace(columns, **changes)
    given = {f.name: (getattr(changed, f.name), f.default) for f in fields(changed)}
    code = ", ".join(f"{k}={plain(v)!r}" for k, (v, default) in given.items() if v != default)
    return Remedy(f"{ROLES}Columns({code})", " ".join(_options(changed, changes)))


def _options(columns: Columns, roles: Any) -> list[str]:
    words: list[str] = []
    for role in roles:
        value, flag = getattr(columns, role), FLAGS.get(role, role)
        if not value:
            words.append(f"leave out --{flag}")
        name: Any
        for name in (value,) if isinstance(value, str | int) else value or ():
            text = "/".join(map(_word, name)) if role == "crossed" else _word(name)
            words.append(f"--{flag} {shlex.quote(text)}")
    return words


def _word(name: Any) -> str:
    return ",".join(name) if isinstance(name, tuple) else str(name)
