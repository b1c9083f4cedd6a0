"""Rendering of the report's Jinja templates."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from ngm_tune.messages import counted

from ..formatting import joined, number, percent, signed
from ..statistics.references import REFERENCE_TITLES
from .tables import TASK_AWARE_NOTE, range_text


def render(template: str, **context: Any) -> str:
    """Render a template of the folder ``templates``.

    Values are escaped as HTML, because titles and settings in results are untrusted.

    Args:
        template: File name relative to ``templates``.
        context: Variables of the template; an undefined variable raises.
    """
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "joined": joined,
        "number": number,
        "percent": percent,
        "range_text": range_text,
        "signed": signed,
    }
    environment.globals |= {
        "reference_titles": REFERENCE_TITLES,
        "task_aware_note": TASK_AWARE_NOTE,
    }
    return environment
