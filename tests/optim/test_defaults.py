"""Optimizers built from tuned hyper-parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from ngm_tune import NGMSGD

TWO = """
[[defaults]]
benchmark = "split-digits"
method = "ngm-sgd"
hyperparameters = { lr = 0.02, gain_sensitivity = 0.3, entropy_smoothing = 0.8 }

[[defaults]]
benchmark = "split-digits"
method = "sgd"
hyperparameters = { lr = 0.5 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "defaults.toml"
    path.write_text(TWO)
    return path


def model() -> nn.Module:
    return nn.Linear(2, 2)


@pytest.mark.parametrize("benchmark", ["split-digits", "rotated-digits", "split-mnist"])
def test_defaults_ship_for_the_benchmarks_of_the_findings(benchmark: str) -> None:
    optimizer = NGMSGD.from_defaults(model(), benchmark)
    assert 0 < optimizer.param_groups[0]["lr"] <= 1
    assert optimizer.modulation.sensitivity > 0


def test_defaults_are_read_from_a_file(file: Path) -> None:
    for optimizer in (
        NGMSGD.from_defaults(model(), path=file),
        NGMSGD.from_defaults(model(), "split-digits", path=str(file)),
    ):
        assert optimizer.param_groups[0]["lr"] == 0.02
        assert optimizer.modulation.sensitivity == 0.3
        assert optimizer.modulation.smoothing == 0.8


def test_overrides_replace_defaults(file: Path) -> None:
    optimizer = NGMSGD.from_defaults(model(), path=file, lr=0.7, layers="output")
    assert optimizer.param_groups[0]["lr"] == 0.7


def test_a_missing_benchmark_is_an_error(file: Path) -> None:
    with pytest.raises(ValueError, match="no ngm-sgd settings for 'mnist', only for 'split-dig"):
        NGMSGD.from_defaults(model(), "mnist", path=file)
    with pytest.raises(ValueError, match="the shipped defaults has no ngm-sgd settings for 'x'"):
        NGMSGD.from_defaults(model(), "x")


def test_a_file_with_several_benchmarks_needs_a_name(file: Path) -> None:
    file.write_text(TWO + TWO.replace("split", "rotated"))
    with pytest.raises(ValueError, match=r"name a benchmark: .* for 'split-digits', 'rotated-digi"):
        NGMSGD.from_defaults(model(), path=file)


@pytest.mark.parametrize("content", ["x", "x = 1", "defaults = 3", "[[defaults]]\nmethod = 1\n"])
def test_a_file_in_another_format_is_an_error(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ValueError, match=r"defaults\.toml"):
        NGMSGD.from_defaults(model(), path=file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NGMSGD.from_defaults(model(), path=tmp_path / "none.toml")
