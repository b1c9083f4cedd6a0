"""Results in an object store: an S3 server on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from unittest.mock import patch

import boto3
import pytest
from moto.server import ThreadedMotoServer
from optuna.trial import TrialState
from pyarrow import fs

from ngm_tune.errors import UserError
from ngm_tune.results.conditional_put import put_if_absent
from ngm_tune.results.directory import Results
from ngm_tune.results.filesystem import with_retry_limit
from ngm_tune.search.optuna_journal import open_journal
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.lock import study_lock
from tests.helpers.commands import Command
from tests.helpers.comparing import assert_same_results
from tests.helpers.interrupting import interrupt_before_task
from tests.helpers.processes import start_ngm_tune
from tests.helpers.waiting import wait_for

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd"]', "--set", "searches=1"),
    *("--set", "trials=1", "--set", "seeds=2", "--set", "iterations_per_task=10"),
    *("--set", "eval_every=5", "--set", "confirm={ max_configurations = 1, seeds = 1 }"),
)
pytestmark = pytest.mark.slow

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server with the bucket ``studies``."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server = ThreadedMotoServer("127.0.0.1", port=0)
        server.start()
        host, port = server.get_host_and_port()
        address = f"{host}:{port}"
        client = boto3.client("s3", endpoint_url=f"http://{address}", region_name="us-east-1")
        client.create_bucket(Bucket="studies")
        yield address
        server.stop()


def uri(address: str, name: str) -> str:
    return f"s3://studies/{name}?scheme=http&region=us-east-1&endpoint_override={address}"


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("results") / "whole"
    assert ngm_tune(*STUDY, "--results", location).code == 0
    return location


def test_a_study_runs_into_an_object_store_and_is_analyzed_from_there(
    s3: str, ngm_tune: Command, whole: Path, tmp_path: Path
) -> None:
    location = uri(s3, "end/to/end")
    done = ngm_tune(*STUDY, "--results", location)
    assert (done.code, done.err) == (0, "")
    assert_same_results(location, whole)
    results = Results(location)
    assert not results.has("driver.json")
    assert results.list_files("checkpoints") == []
    with open_journal(results) as storage:
        trials = [t for s in storage.get_all_studies() for t in storage.get_all_trials(s._study_id)]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert "is complete: all" in ngm_tune(*STUDY, "--results", location).out
    assert ngm_tune("analyze", location, "--no-images", "--output", tmp_path).code == 0
    assert (tmp_path / "report.html").exists()
    assert ngm_tune("doctor", location).out.endswith("nothing is damaged\n")


def test_a_study_in_an_object_store_resumes_after_an_interrupt(
    s3: str, ngm_tune: Command, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "0")
    location = uri(s3, "interrupted")
    with interrupt_before_task(14):  # in the second run, which has a checkpoint
        assert ngm_tune(*STUDY, "--results", location).code == 130
    results = Results(location)
    assert len(results.list_files("checkpoints")) == 1
    assert not results.has("driver.json")
    assert_resumes(ngm_tune, location, whole)


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_stopped_or_killed_study_on_ray_resumes_in_an_object_store(
    s3: str, ngm_tune: Command, whole: Path, number: signal.Signals
) -> None:
    location = uri(s3, number.name)
    process = start_ngm_tune(*STUDY, "--results", location)
    results = Results(location)
    wait_for(lambda: results.list_files("checkpoints") and results.list_files("trials"))
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    if number == signal.SIGTERM:
        assert (process.returncode, err) == (130, "")
        assert f"Stopped with {len(results.list_files('trials'))} of" in out
        assert not results.has("driver.json")
    else:
        assert process.returncode == -signal.SIGKILL
    assert_resumes(ngm_tune, location, whole)


def assert_resumes(ngm_tune: Command, location: str, whole: Path) -> None:
    done = ngm_tune(*STUDY, "--results", location)
    assert (done.code, done.err) == (0, "")
    assert " already done" in done.out
    assert_same_results(location, whole)


def test_a_damaged_object_is_quarantined(s3: str, ngm_tune: Command) -> None:
    results = Results(uri(s3, "damaged"))
    results.create()
    study = ngm_tune(*STUDY, "--set", "iterations_per_task=4", "--results", results.location)
    assert study.code == 0
    results.write_bytes("trials/split-digits.sgd.0000.parquet", b"PAR1")
    found = {f.name: f for f in examine(results.location) if f.kind == "damage"}
    assert found["trials/split-digits.sgd.0000.parquet"].repair is not None
    assert results.read_bytes("damaged/trials/split-digits.sgd.0000.parquet") == b"PAR1"
    assert not results.has_run("split-digits.sgd.0000")


def test_an_object_store_has_one_driver_at_a_time(s3: str) -> None:
    results = Results(uri(s3, "held"))
    with study_lock(results, print):
        with pytest.raises(UserError, match=f"already being run by process {os.getpid()}"):
            study_lock(results, print).__enter__()
        assert results.has("driver.json")
    assert not results.has("driver.json")


def test_a_claim_on_an_object_store_is_a_conditional_write(s3: str) -> None:
    filesystem, root = fs.FileSystem.from_uri(uri(s3, "claimed"))
    path = PurePosixPath(root) / "driver.json"
    assert put_if_absent(filesystem, uri(s3, "claimed"), path, b"first")
    assert put_if_absent(filesystem, uri(s3, "claimed"), path, b"second") is False
    results = Results(uri(s3, "claimed"))
    assert results.read_bytes("driver.json") == b"first"
    with patch.object(Results, "has", lambda results, name: False):  # as if looked up before
        assert not results.claim("driver.json", b"third")
        assert results.claim("driver.json", b"first")  # the response to the first write was lost


def test_a_store_that_cannot_be_reached_makes_no_conditional_write(s3: str) -> None:
    filesystem, root = fs.FileSystem.from_uri(uri("127.0.0.1:9", "nowhere"))
    path = PurePosixPath(root) / "driver.json"
    assert put_if_absent(filesystem, uri("127.0.0.1:9", "nowhere"), path, b"first") is None


@pytest.mark.parametrize("conditional", [True, False])
def test_one_of_two_simultaneous_drivers_is_refused_in_an_object_store(
    s3: str, monkeypatch: pytest.MonkeyPatch, conditional: bool
) -> None:
    if not conditional:
        monkeypatch.setitem(sys.modules, "obstore", None)
    location = uri(s3, f"at-once-{conditional}")
    Results(location).create()
    together, over = threading.Barrier(2), threading.Event()

    def drive() -> str:
        together.wait()
        try:
            with study_lock(Results(location), print):
                over.wait(30)
                return "held"
        except UserError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(drive) for _ in range(2)]
        wait(ends, timeout=30, return_when=FIRST_COMPLETED)
        over.set()
        assert sorted(end.result() for end in ends) == ["held", "refused"]


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("s3://nowhere/study", "cannot be"),
        ("s3:///", "not a usable results location"),
    ],
)
def test_an_unusable_location_is_explained_in_one_sentence(
    s3: str, ngm_tune: Command, location: str, sentence: str
) -> None:
    query = f"?scheme=http&region=us-east-1&endpoint_override={s3}"
    answer = ngm_tune(*STUDY, "--results", location + query)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert sentence in answer.err


def test_unreachable_google_storage_is_an_error(ngm_tune: Command) -> None:
    location = "gs://anonymous@nowhere/study?scheme=http&endpoint_override=127.0.0.1:9"
    answer = ngm_tune("doctor", f"{location}&retry_limit_seconds=1")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "cannot be listed: " in answer.err


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://bucket/study", "gs://bucket/study?retry_limit_seconds=30"),
        ("gcs://bucket/study?scheme=http", "gcs://bucket/study?scheme=http&retry_limit_seconds=30"),
        ("gs://bucket/study?retry_limit_seconds=9", "gs://bucket/study?retry_limit_seconds=9"),
        ("s3://bucket/study?region=x", "s3://bucket/study?region=x"),
        ("file:///study", "file:///study"),
    ],
)
def test_google_storage_is_retried_for_half_a_minute(uri: str, expected: str) -> None:
    assert with_retry_limit(uri) == expected
