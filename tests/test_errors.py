"""Errors that the command line prints."""

from __future__ import annotations

import pickle

import pytest

from ngm_tune.errors import NewerResultsError, ResultsFileError, StudyError, UserError


@pytest.mark.parametrize("kind", [ResultsFileError, NewerResultsError, StudyError])
def test_errors_about_a_file_have_its_path_and_the_reason(kind: type[ResultsFileError]) -> None:
    error = kind("results/study.toml", "not valid TOML:\n x")
    assert (error.path, error.reason) == ("results/study.toml", "not valid TOML: x")
    assert str(error) == "results/study.toml: not valid TOML: x"


def test_errors_can_be_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ResultsFileError("results/study.toml", "is damaged")))
    assert (error.path, error.reason) == ("results/study.toml", "is damaged")


def test_messages_have_one_line_and_no_control_characters() -> None:
    error = UserError("a\nb\x1b[31m")
    assert str(error) == error.reason == "a b\N{REPLACEMENT CHARACTER}[31m"
