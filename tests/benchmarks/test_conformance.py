"""The conformance suite of ``ngm_tune.testing``, for every benchmark whose data is present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ngm_tune.benchmarks import BENCHMARKS
from ngm_tune.testing import BenchmarkTestCase


def _case_name(name: str) -> str:
    return "Test" + "".join(part.capitalize() for part in name.split("-"))


def _has_data(name: str) -> bool:
    """Whether the data of a benchmark is present, so that loading it downloads nothing."""
    source = BENCHMARKS[name].source
    if source is None:
        return True
    folder = os.environ.get("NGM_TUNE_DATA")
    if folder is None:
        return False
    layout = source.torchvision
    in_parquet = any((Path(folder) / name).is_dir() for name in source.folders)
    return in_parquet or (layout is not None and not layout.missing_files(Path(folder)))


for _name, _benchmark in BENCHMARKS.items():
    _marks = [] if _has_data(_name) else [pytest.mark.skip(f"NGM_TUNE_DATA has no {_name}")]
    _marks += [pytest.mark.slow] if _benchmark.source else []  # images that must be decoded
    globals()[_case_name(_name)] = type(
        _case_name(_name), (BenchmarkTestCase,), {"benchmark": _benchmark, "pytestmark": _marks}
    )
