"""Formatting of numbers."""

from __future__ import annotations

from ngm_tune.analysis.formatting import number, percent, settings, signed
from ngm_tune.messages import counted


def test_values_that_round_to_zero_have_no_minus() -> None:
    values = (0.0125, -0.0125, -0.0004, 0.0, float("nan"))
    assert [signed(v) for v in values] == ["+0.013", "−0.013", "+0.000", "+0.000", "+nan"]
    assert [number(v) for v in values] == ["0.013", "−0.013", "0.000", "0.000", "nan"]
    assert number(57.55, digits=1) == "57.5"


def test_counts_have_singular_and_plural() -> None:
    assert [counted(n, "fresh seed") for n in (0, 1, 2)] == [
        "0 fresh seeds",
        "1 fresh seed",
        "2 fresh seeds",
    ]


def test_percentages_are_rounded() -> None:
    assert (percent(0.3), percent(0.0123, 1)) == ("30 %", "1.2 %")


def test_hyperparameters_of_several_types_are_formatted() -> None:
    assert settings({"lr": 0.0123, "layers": "output", "nesterov": True, "steps": 3}) == (
        "lr 0.0123, layers output, nesterov True, steps 3"
    )
    assert settings({}) == ""
