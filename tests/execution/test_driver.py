"""Driving a study: addresses of Ray clusters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ngm_tune.errors import UserError
from ngm_tune.execution.driver import drive
from ngm_tune.study.files import load_study


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", "the Ray cluster at 127.0.0.1:1 cannot be reached: "),
        ("ray://127.0.0.1:1", "the Ray cluster at ray://127.0.0.1:1 cannot be reached: "),
        ("ray://nowhere.invalid:1", "cannot be reached: "),
        ("somewhere", "--address somewhere: must be auto, HOST:PORT or ray://HOST:PORT"),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_cluster_that_does_not_exist_is_reported_at_once(
    tmp_path: Path,
    address: str,
    sentence: str,
    by_environment: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", address)
    started_at = time.monotonic()
    with pytest.raises(UserError) as refused:
        drive(
            load_study("quickstart"),
            str(tmp_path / "study"),
            address=None if by_environment else address,
        )
    assert time.monotonic() - started_at < 60
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "study" / "study.toml").exists()
