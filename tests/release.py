"""Build a release, and test what users get: `make release-check`.

python tests/release.py [--oldest] [--python PYTHON] [--pin REQUIREMENT] [--keep FOLDER]
    [PYTEST OPTION...]

The sdist and the wheel are built and their metadata checked. The wheel alone, without extras, is
installed into an environment of its own and forecasts there. Then the extras join it, and the tests
of the unpacked sdist run against it: the package is taken out of that folder first, so that no
checkout is tested. `--oldest` installs the oldest versions that the metadata allow.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("calendar", "hub", "image", "parquet", "sports", "video")
TOOLS = ("hypothesis", "polars", "pytest", "pytest-xdist", "scoringrules", "utilsforecast")
NEEDED = ("py.typed", "plot/page.html", "weights/basketball/forecaster.json")
# What the oldest versions bring along unasked, from their time: newer ones deprecate what they use.
WITH_THE_OLDEST = ("click==8.2", "pyparsing==3.2")
LARGEST = 4_000_000  # bytes, of either archive

# What a stranger tries first: no extra, no training, no network.
FIRST = """
import hierforecast
from hierforecast.datasets import simulate_basketball
from hierforecast.plot import plot_rollout
play = simulate_basketball(n_scenes=1, n_steps=50, seed=1)
forecast = hierforecast.pretrained("basketball").predict(play, level=[90])
plot_rollout(play, forecast).figure.savefig("first.png")
print(hierforecast.__version__, hierforecast.__file__, forecast.shape)
"""


def run(*command: str | os.PathLike[str], folder: Path = ROOT) -> None:
    """Run a program, echoed, without the checkout on Python's path; its failure ends the check."""
    print("$", *command, flush=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as own:  # matplotlib's list of fonts is of its version
        code = subprocess.run(command, cwd=folder, env=kept | {"MPLCONFIGDIR": own}).returncode
    if code:
        sys.exit(f"failed with {code}: {' '.join(map(str, command))}")


def environment(folder: Path, python: str, needs: Iterable[str]) -> Path:
    """A new environment with what it needs; its Python."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", *needs)
    return inside


def build(work: Path, python: str) -> tuple[Path, Path]:
    """The wheel and the sdist, their metadata checked."""
    tools = environment(work / "tools", python, ["build", "twine"])
    run(tools, "-m", "build", "--outdir", work / "dist")
    archives = sorted((work / "dist").iterdir())
    run(tools, "-m", "twine", "check", "--strict", *archives)
    (wheel,) = (work / "dist").glob("*.whl")
    (sdist,) = (work / "dist").glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel: Path, sdist: Path) -> None:
    """The wheel holds the package with its data and nothing else; both are small."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if f"hierforecast/{name}" not in names]
    others = [n for n in names if not re.match(r"hierforecast(-[\w.]+\.dist-info)?/", n)]
    large = [path.name for path in (wheel, sdist) if path.stat().st_size > LARGEST]
    if missing or others or large:
        sys.exit(f"the wheel lacks {missing}, holds {others}; above {LARGEST} bytes: {large}")
    for path in (wheel, sdist):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def requirements(wheel: Path, extras: Sequence[str]) -> dict[str, str]:
    """What the metadata require, as they are written, by name: without extras and with these."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    found = {}
    for line in message_from_bytes(archive.read(name)).get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == '([\w-]+)'", marker)
        if extra is None or extra[1] in extras:
            found[re.match(r"[\w.-]+", requirement)[0]] = requirement.strip()
    return found


def oldest(needs: dict[str, str]) -> list[str]:
    """Each requirement at its lower bound."""
    bounds = {name: re.search(r">=([\w.]+)", need) for name, need in needs.items()}
    return [f"{name}=={bound[1]}" for name, bound in bounds.items() if bound is not None]


def unpacked(sdist: Path, work: Path) -> Path:
    """The sdist's folder, without the package."""
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "source", filter="data")
    (folder,) = (work / "source").iterdir()
    shutil.rmtree(folder / "hierforecast")
    return folder


def check(options: argparse.Namespace, tests: Sequence[str], work: Path) -> None:
    """All of it, in a folder that may be thrown away."""
    wheel, sdist = build(work, sys.executable)
    check_contents(wheel, sdist)
    needs = requirements(wheel, (*EXTRAS, "dev"))
    tools = [needs[name] for name in TOOLS]
    aged = [*oldest(requirements(wheel, EXTRAS)), *WITH_THE_OLDEST]
    pins = [*(aged if options.oldest else ()), *options.pin]
    if options.oldest:
        tools = [need.replace(">=", "==") if "polars" in need else need for need in tools]
    constraints = work / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    python = environment(work / "clean", options.python, [wheel, "-c", constraints])
    run(python, "-W", "error", "-c", FIRST, folder=work)
    run(work / "clean" / "bin" / "hierforecast", "--version", folder=work)
    full = f"{wheel}[{','.join(EXTRAS)}]"
    run(python, "-m", "pip", "install", "-q", full, *tools, "-c", constraints)
    run(python, "-m", "pip", "list", "--format", "freeze")
    folder = unpacked(sdist, work)
    run(python, "-m", "pytest", "-m", "not slow", *tests, folder=folder)
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
        for archive in (wheel, sdist):
            shutil.copy(archive, options.keep)


def main() -> None:
    """Read the options, work in a folder of its own, and leave nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oldest", action="store_true", help="the oldest versions allowed")
    parser.add_argument("--python", default=sys.executable, help="the Python to install into")
    parser.add_argument("--keep", help="a folder to keep the two archives in, once they are sound")
    parser.add_argument("--pin", action="append", default=[], help="such as torch==2.4.0")
    options, tests = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="release-") as work:
        check(options, tests, Path(work))
    print("the release is sound")


if __name__ == "__main__":
    main()
