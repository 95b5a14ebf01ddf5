"""Sphinx: ``make docs``, or ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

from typing import Any

import rl_abel

project = "rl_abel"
author = "The rl_abel authors"
copyright = f"{author}, MIT license"
version = release = rl_abel.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "rl_abel"
html_copy_source = False


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let |w|^2 in a docstring be what it says: to reStructuredText the bars are a substitution."""
    lines[:] = [line.replace("|w|^2", r"\|w\|²") for line in lines]


def setup(app: Any) -> None:
    """Register what the configuration needs."""
    app.connect("autodoc-process-docstring", escape_bars)
