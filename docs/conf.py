"""The documentation site: `pip install '.[docs,all]'`, then `sphinx-build -W --keep-going docs build/docs`."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from typing import Any

project = "aichatfree"
project_copyright = "the aichatfree authors"
version = release = installed("aichatfree")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["build"]
# Some docstrings set names in single backticks.
default_role = "code"

html_theme = "furo"
html_title = f"aichatfree {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "native"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# Addresses outside cannot be reached from everywhere; what stands in this site must be right.
linkcheck_ignore = [r"https?://.*"]

_FENCE = re.compile(r"^(\s*)```(\w*)\s*$")


def markdown_fences(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn code fences in docstrings into code blocks."""
    out: list[str] = []
    inside = False
    for line in lines:
        if fence := _FENCE.match(line):
            inside = not inside
            out += ["", f"{fence[1]}.. code-block:: {fence[2] or 'text'}", ""] if inside else [""]
        else:
            out.append("    " + line if inside and line else line)
    lines[:] = out


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", markdown_fences)
