"""docs/security.md lists every place where the package parses a file, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARSERS = (
    r"torch\.(?:load|hub)\b|(?:np|numpy)\.(?:load\b|lib\.format|fromfile|loadtxt|genfromtxt)"
    r"|json\.loads?\b|parse_json\b|pickle\.\w+|marshal\.\w+|shelve\.\w+|joblib\.\w+|yaml\.\w+"
    r"|zipfile\.ZipFile|tarfile\.open|SevenZipFile|(?:lzma|gzip|bz2)\.open|zlib\.decompress\w*"
    r"|Image\.open|read_(?:csv|parquet|metadata|excel|feather|orc|hdf|pickle|xml|html|fwf)\b"
    r"|ParquetFile|ParquetDataset|ElementTree|loadmat|load_from_checkpoint|(?<!\.)\b(?:eval|exec)\("
    r"|from safetensors"
)
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| `(?P<parser>[^`]+)` \| .+ \| .+ \|$", re.MULTILINE)


def code_of(file: Path) -> str:
    """Without docstrings, comments and what is written."""
    text = re.sub(r'""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(
        r"from safetensors[\w.]* import (?:SafetensorError|save\w*)$", "", text, flags=re.M
    )
    return re.sub(r"#.*|import .*parse_json.*|def parse_json|pd\.errors\.\w+", "", text)


def found() -> set[tuple[str, str]]:
    sites = set()
    for file in sorted((ROOT / "hierforecast").rglob("*.py")):
        for site in re.findall(PARSERS, code_of(file)):
            name = site.strip("(").removeprefix("from ").replace("json.load", "json.loads")
            name = name.replace("loadss", "loads").replace("numpy.", "np.")
            sites.add((file.relative_to(ROOT).as_posix(), name))
    return sites


def test_every_place_where_a_file_is_parsed_is_listed_and_no_other():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    listed = {(row["file"], row["parser"]) for row in ROW.finditer(page)}
    assert len(listed) > 20
    assert found() - listed == set(), "add these to docs/security.md, with their limits"
    assert listed - found() == set(), "these are gone: take them from docs/security.md"


def test_checkpoints_are_read_without_code_and_pictures_without_other_programs():
    for file in (ROOT / "hierforecast").rglob("*.py"):
        code = code_of(file)
        for call in re.findall(r"torch\.load\([^\n]*", code):
            assert "weights_only=True" in call, file
        for call in re.findall(r"Image\.open\([^\n]*", code):
            assert "formats=" in call, file
        assert "allow_pickle=True" not in code and "weights_only=False" not in code, file
