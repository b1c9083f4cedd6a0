"""Ids of trials and runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngm_tune.results.ids import RunId, TrialId, is_like_repetition, parse_run, search_name

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True).filter(
    lambda name: not is_like_repetition(name)
)
BENCHMARKS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)


@given(BENCHMARKS, NAMES, st.integers(0, 20_000), st.booleans(), st.integers(0, 999))
def test_an_id_is_parsed_back(
    benchmark: str, method: str, number: int, confirms: bool, repetition: int
) -> None:
    trial = TrialId(benchmark, method, number, confirms, repetition)
    assert TrialId.parse(str(trial)) == trial
    assert parse_run(str(RunId(trial, seed=3))) == trial


def test_names_of_the_first_repetition_are_those_of_studies_without_repetitions() -> None:
    assert str(TrialId("split-digits", "sgd", 3, confirms=True)) == "split-digits.sgd.0003.confirm"
    assert search_name("split-digits", "sgd", 0, "/") == "split-digits/sgd"
    assert search_name("split-digits", "sgd", 2, "/") == "split-digits/sgd/r2"


@pytest.mark.parametrize(
    "text", ["", "0003", "sgd.0003", "digits.sgd", "digits.sgd.x", "digits..0003", "r1.sgd.confirm"]
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert parse_run(text) is None
    with pytest.raises(ValueError, match="is not the id of a trial"):
        TrialId.parse(text)
