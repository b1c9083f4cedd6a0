"""The generated reference pages are complete."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ngm_tune.methods import methods
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.schema import SCHEMAS
from ngm_tune.study.study import Study

SCRIPT = Path(__file__).parents[2] / "docs/generate_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_study_key_is_described(reference: ModuleType) -> None:
    page = reference.study_page()
    schema = Study.model_json_schema()
    tables = [schema, *(table for table in schema["$defs"].values() if "properties" in table)]
    for table in tables:
        for key, prop in table["properties"].items():
            assert f"{key}`" in page
            assert prop.get("description"), f"{table['title']}.{key} has no docstring"


def test_every_method_and_metric_is_listed(reference: ModuleType) -> None:
    assert all(f"## `{name}`" in reference.methods_page() for name in methods())
    assert all(f"| `{name}` |" in reference.metrics_page() for name in METRICS)


def test_every_column_is_described(reference: ModuleType) -> None:
    columns = {column.name for schema in SCHEMAS.values() for column in schema} - set(METRICS)
    assert columns == set(reference.COLUMNS)


def test_roles_of_docstrings_become_code(reference: ModuleType) -> None:
    html = ":meth:<code>state_dict</code> of :class:<code>~ngm_tune.learners.Learner</code>"
    clean = reference.on_page_content(html, page=None, config=None, files=None)
    assert clean == "<code>state_dict</code> of <code>Learner</code>"
