"""Files from templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tinyopt.generate.folder import File
from tinyopt.resources import resource
from tinyopt.version import __version__


def rendered(template: str, path: str, facts: Mapping[str, object], *, starter: bool = False) -> File:
    """A template of the ``templates`` folder, filled in. ``starter``: see ``File``."""
    return File(path, render(template, facts).encode(), starter)


def render(template: str, facts: Mapping[str, object]) -> str:
    """The text of a template, filled in."""
    return _environment().get_template(template).render(dict(facts), version=__version__)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resource("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
