"""What the project promises about itself: one version, one way in, rooms that keep apart."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

import pytest

import hierforecast

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hierforecast"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], prefix="hierforecast.")]
# The image room shares the symmetries and their tester. Errors, the finder of data files, which
# knows no data set, and what every training, save and command needs are everybody's.
SHARED_WITH_IMAGES = (
    "hierforecast.symmetry",
    "hierforecast.testing",
    "hierforecast.io",
    "hierforecast.errors",
    "hierforecast._lightning",
    "hierforecast._progress",
    "hierforecast._random",
    "hierforecast._waiting",
    "hierforecast._console",
    "hierforecast._words",
    "hierforecast._options",
)


def imports(file: Path, *within: type[ast.AST]) -> Iterator[str]:
    """Every module that a file imports, anywhere or within such nodes, by its absolute name."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    nodes = [*ast.walk(ast.parse(file.read_text()))]
    if within:
        nodes = [node for one in nodes if isinstance(one, within) for node in ast.walk(one)]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_datasets_folder_is_no_package():
    """With an __init__.py it would shadow Hugging Face's `datasets`."""
    assert not (ROOT / "datasets" / "__init__.py").exists()


def test_the_package_imports_nothing_that_stands_beside_it():
    beside = ("benchmarks", "datasets", "notebooks", "tests")
    offenders = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in PACKAGE.rglob("*.py")
        for name in imports(file)
        if within(name, *beside)
    }
    assert not offenders


def test_the_image_room_keeps_apart():
    room = PACKAGE / "image_ssl"
    if not room.is_dir():
        pytest.skip("hierforecast/image_ssl is not built yet")
    offenders = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in PACKAGE.rglob("*.py")
        for name in imports(file)
        if within(name, "hierforecast")
        and (
            not within(name, "hierforecast.image_ssl", *SHARED_WITH_IMAGES)
            if file.is_relative_to(room)
            else within(name, "hierforecast.image_ssl")
        )
    }
    assert not offenders


# What is imported within functions, because it takes long to load or draws in an extra.
LATE = {
    ("hierforecast.cli.demo", "hierforecast.demo"),
    ("hierforecast.demo", "hierforecast.plot"),
    ("hierforecast.demo.pictures", "hierforecast.plot"),
    ("hierforecast.training.fitting", "hierforecast.training.loop"),
}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The largest sets of modules each of which leads to each, of more than one."""
    reached = {name: {name} for name in graph}
    while True:
        wider = {
            name: found.union(*(graph[one] for one in found)) for name, found in reached.items()
        }
        if wider == reached:
            break
        reached = wider
    together = {
        frozenset(one for one in found if name in reached[one]) for name, found in reached.items()
    }
    return [set(circle) for circle in together if len(circle) > 1]


def graph(*within: type[ast.AST]) -> dict[str, set[str]]:
    """The modules of the package that each of them imports."""
    files = [*PACKAGE.rglob("*.py")]
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    names = [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]
    found = {}
    for name, file in zip(names, files, strict=True):
        every = imports(file, *within)
        found[name] = {one if one in names else one.rpartition(".")[0] for one in every}
        found[name] = found[name].intersection(names) - {name}
    return found


def test_no_import_circles():
    """Those for types alone and those within functions count too."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    found = graph()
    assert len(found) > 150
    assert not circles(found), "modules import each other in a circle"


def test_rooms_lead_one_way():
    """Of two rooms one builds on the other: so each can be read after those that it imports."""
    rooms: dict[str, set[str]] = {}
    for name, ones in graph().items():
        room, *others = (".".join(one.split(".")[:2]) for one in [name, *ones])
        rooms.setdefault(room, set()).update({*others} - {room, "hierforecast"})
    assert {"hierforecast.windows", "hierforecast.nn"} <= rooms["hierforecast.inference"]
    del rooms["hierforecast"]
    assert not circles(rooms), "rooms import each other in a circle"


def test_imports_within_functions_are_few():
    """Each of them is listed above: they come late for a reason, and a circle is none."""
    late = graph(ast.FunctionDef, ast.AsyncFunctionDef)
    assert {(name, one) for name, ones in late.items() for one in ones} <= LATE


def loaded_by(statements: str) -> set[str]:
    """Every module that a fresh interpreter has loaded after these statements."""
    script = f"import sys\n{statements}\nprint(*sys.modules)"
    run = [sys.executable, "-W", "ignore", "-c", script]
    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


@pytest.fixture(scope="module")
def loaded_alone() -> set[str]:
    return loaded_by("import hierforecast")


def shown_by(call: str) -> set[str]:
    """Every module that the command line has loaded after a call."""
    quiet = "with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):"
    return loaded_by(f"import contextlib\nfrom hierforecast.cli import app\n{quiet} app({call!r})")


# What takes long to load.
HEAVY = ("torch", "scipy", "pandas", "numpy", "narwhals", "pyarrow", "lightning", "matplotlib")


def test_little_is_loaded_before_it_is_asked_for(loaded_alone):
    helped = shown_by(["--help"])
    assert "hierforecast.cli" in helped
    for loaded in (loaded_alone, helped, shown_by(["--version"])):
        assert not [name for name in loaded if within(name, *HEAVY)]
    assert within("torch.nn", *HEAVY) and "torch" in shown_by(["fit", "--help"])


def test_forecasting_loads_no_library_that_only_some_fits_need():
    loaded = loaded_by("from hierforecast import *\nForecaster, HiPerformer, resample")
    assert "hierforecast.forecaster" in loaded and "torch" in loaded
    late = ("scipy", "lightning", "matplotlib", "polars", "hierforecast.image_ssl", "kornia")
    assert not [name for name in loaded if within(name, *late)]


def test_names_that_come_late_are_those_of_the_package():
    assert set(hierforecast._HOMES) == set(hierforecast.__all__) <= set(dir(hierforecast))
    seen = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = {
        alias.name: node.module
        for block in seen.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    homes = {name: f"hierforecast.{home}" for name, home in hierforecast._HOMES.items()}
    assert typed == homes, "a type checker sees other names"
    assert hierforecast.frame.Columns is hierforecast.Columns
    with pytest.raises(AttributeError, match="'Forecasts'"):
        _ = hierforecast.Forecasts


def test_commands_that_come_late_have_their_own_help():
    from hierforecast.cli import COMMANDS

    for place, text in COMMANDS.values():
        module, _, function = place.partition(":")
        command = getattr(import_module(f"hierforecast.cli.{module}"), function)
        assert command.__doc__.splitlines()[0] == text


@pytest.mark.slow
def test_the_image_room_loads_nothing_of_forecasting_by_itself(loaded_alone):
    names = [name for name in MODULES if within(name, "hierforecast.image_ssl")]
    loaded = loaded_by("\n".join(f"import {name}" for name in names))
    assert set(names) <= loaded and len(names) > 30
    more = {name for name in loaded - loaded_alone if within(name, "hierforecast")}
    shared = {name for name in more if within(name, *SHARED_WITH_IMAGES)}
    assert more - shared == {name for name in loaded if within(name, "hierforecast.image_ssl")}
    assert "kornia" not in loaded, "an extra, imported when it is needed"


def test_one_version_number():
    version = PROJECT["version"]
    assert metadata.version("hierforecast") == version, "install again: make test"
    assert getattr(hierforecast, "__version__", version) == version
    literal = re.compile(rf"""["']{re.escape(version)}["']""")
    others = [*PACKAGE.rglob("*.py"), ROOT / "CITATION.cff"]
    assert not [str(file) for file in others if literal.search(file.read_text())]
    released = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert not released or released[0] == version


@pytest.mark.parametrize("name", ["hierforecast", *sorted(MODULES)])
def test_every_public_name_can_be_imported(name):
    module = import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(set(exported)) == len(exported)
    assert not [public for public in exported if not hasattr(module, public)]


def test_constraints_pin_what_the_commands_install():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    extras = PROJECT["optional-dependencies"]
    # What `make test` installs: the core, dev, and the extras that dev names.
    within_dev = re.findall(r"\[(.*)\]", extras["dev"][0])[0].split(",")
    needed = [*PROJECT["dependencies"], *extras["dev"][1:]]
    needed += [requirement for extra in within_dev for requirement in extras[extra]]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", need)[0]).lower() for need in needed}
    assert names <= pinned
