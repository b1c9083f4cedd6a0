"""The JavaScript that draws the charts of a page."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from uuid import uuid4

import altair as alt
import vl_convert

from ngm_tune.paths import cache_folder

VEGA_LITE = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
"""Version of Vega-Lite that the charts are written for."""


@cache
def javascript_bundle() -> str:
    """Return the JavaScript of Vega-Embed, Vega-Lite and Vega.

    Bundling takes a second or more, so the result is kept in the cache folder.
    """
    file = cache_folder() / f"vega-lite-{VEGA_LITE}-vl-convert-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8")
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    with suppress(OSError):  # without a cache, the next report bundles again
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.{uuid4().hex}.part")
        draft.write_text(bundle, encoding="utf-8")
        os.replace(draft, file)
    return bundle
