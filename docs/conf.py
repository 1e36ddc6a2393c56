"""Sphinx: `make docs` builds the site offline, with warnings as errors."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "hierforecast"
author = "hierforecast developers"
release = version = installed("hierforecast")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "cli_help",
    "gallery",
    "mathematics",
    "mathml",
    "repository",
]
# Names of other libraries become links where the site is built with a network, which inventories
# come by. Without one they stay plain names, and nothing warns.
if os.environ.get("READTHEDOCS") or os.environ.get("HIERFORECAST_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
exclude_patterns = ["_build"]
default_role = "py:obj"  # names in docstrings become links where there is such a name
highlight_language = "python"

myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
myst_heading_anchors = 3
# Notebooks are run by `make notebooks` and by the tests; here they are shown.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
autodoc_default_options = {"members": True, "show-inheritance": True}
maximum_signature_line_length = 88

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "hierforecast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
# The prompt of a shell or of Python is not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
