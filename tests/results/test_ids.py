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


@given(BENCHMARKS, NAMES, st.integers(0, 20_000), st.integers(0, 999), NAMES)
def test_an_id_is_parsed_back(
    benchmark: str, method: str, number: int, repetition: int, origin: str
) -> None:
    searched = TrialId(benchmark, method, number, repetition=repetition)
    confirmed = searched.confirmation()
    transferred = TrialId(benchmark, method, number, repetition=repetition, origin=origin)
    for trial in (searched, confirmed, transferred):
        assert TrialId.parse(str(trial)) == trial
        assert parse_run(str(RunId(trial, seed=3))) == trial
    assert len({str(trial) for trial in (searched, confirmed, transferred)}) == 3


def test_a_transfer_names_both_benchmarks() -> None:
    searched = TrialId("split-digits", "sgd", 3, repetition=1)
    trial = searched.transfer("rotated-digits")
    assert str(trial) == "rotated-digits.sgd.r1.0003.from-split-digits"
    assert (trial.benchmark, trial.origin) == ("rotated-digits", "split-digits")
    assert trial.searched == searched.confirmation().searched == searched
    assert [each.is_selected for each in (searched, searched.confirmation(), trial)] == [
        *(False, True, True)
    ]


def test_names_of_the_first_repetition_are_those_of_studies_without_repetitions() -> None:
    assert str(TrialId("split-digits", "sgd", 3, confirms=True)) == "split-digits.sgd.0003.confirm"
    assert search_name("split-digits", "sgd", 0, "/") == "split-digits/sgd"
    assert search_name("split-digits", "sgd", 2, "/") == "split-digits/sgd/r2"


@pytest.mark.parametrize(
    "text",
    [
        *("", "0003", "sgd.0003", "digits.sgd", "digits.sgd.x", "digits..0003", "r1.sgd.confirm"),
        *("digits.sgd.0003.from-", "digits.sgd.0003.from-a.b", "digits.sgd.0003.confirm.from-a"),
    ],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert parse_run(text) is None
    with pytest.raises(ValueError, match="is not the id of a trial"):
        TrialId.parse(text)
