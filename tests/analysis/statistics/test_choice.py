"""Which point of a front is chosen, and what is written of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.choice import choose, write_defaults
from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from ngm_tune.results.schema import trials_schema

STUDY = """
name = "made-up"
title = "Made up"
benchmarks = ["split-digits"]
methods = ["ngm-sgd", "sgd", "adam"]
trials = 5
seeds = 2
seed = 0
sampler = "tpe"
objectives = ["avg_acc", "avg_sg"]
reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
"""

# Trial: status, accuracies and gaps of the two seeds.
NGM = [
    ("completed", (0.95, 0.97), (0.30, 0.30)),  # front: best accuracy
    ("completed", (0.93, 0.93), (0.08, 0.12)),  # front: the knee
    ("completed", (0.50, 0.50), (0.05, 0.05)),  # front: smallest gap
    ("completed", (0.90, 0.90), (0.20, 0.20)),  # dominated
    ("stopped", (0.99, 0.99), (0.00, 0.00)),  # a part of a run: never on a front
]


def write(
    results: Results, method: str, trials: list[tuple[str, tuple, tuple]], phase: str = "search"
) -> None:
    seeds = (0, 1) if phase == "search" else (1000, 1001)
    for number, (status, accuracies, gaps) in enumerate(trials):
        trial_id = f"split-digits.{method}.{number:04d}"
        trial_id += ".confirm" if phase == "confirm" else ""
        rows = [
            {
                "study": "made-up",
                "benchmark": "split-digits",
                "method": method,
                "trial_id": trial_id,
                "seed": seed,
                "phase": phase,
                "status": status,
                "config_lr": 0.1 * (number + 1),
                "config_gain_sensitivity": 0.25 if method == "ngm-sgd" else None,
                "avg_acc": accuracy,
                "avg_sg": gap,
                "wall_seconds": 1.5,
            }
            for seed, accuracy, gap in zip(seeds, accuracies, gaps, strict=True)
        ]
        schema = trials_schema({"lr": "float", "gain_sensitivity": "float"})
        results.write("trials", trial_id, pa.Table.from_pylist(rows, schema))


@pytest.fixture
def location(tmp_path: Path) -> Path:
    results = Results(str(tmp_path))
    results.write_text("study.toml", STUDY)
    write(results, "ngm-sgd", NGM)
    write(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))])
    write(results, "adam", [("diverged", (0.0, 0.0), (1.0, 1.0))])
    return tmp_path


def test_trials_are_means_over_seeds_with_their_fronts(location: Path) -> None:
    loaded = load(str(location))
    ngm = loaded.of("split-digits", "ngm-sgd").sort("trial_id")
    assert ngm["avg_acc"].to_list() == pytest.approx([0.96, 0.93, 0.5, 0.9, 0.99])
    assert ngm["avg_acc_sd"][0] == pytest.approx(0.01 * 2**0.5)
    assert ngm["front"].to_list() == [True, True, True, False, False]
    assert ngm["seeds"].to_list() == [2] * 5


@pytest.mark.parametrize(("pick", "number"), [("knee", 1), ("avg_acc", 0), ("avg_sg", 2)])
def test_the_picks(location: Path, pick: str, number: int) -> None:
    first, second = choose(load(str(location)), pick)
    assert first.trial_id == f"split-digits.ngm-sgd.{number:04d}"
    assert second.method == "sgd"
    assert "of 3 points on the front" in first.explanation
    assert "of 1 point on the front" in second.explanation


def test_test_data_choose_nothing(location: Path) -> None:
    """On test data the order of the confirmed configurations is another one."""
    (location / "study.toml").write_text(STUDY + "confirm = { top = 3, seeds = 2 }\n")
    results = Results(str(location))
    on_test = [((0.80, 0.80), (0.4, 0.4)), ((0.70, 0.70), (0.5, 0.5)), ((0.85, 0.85), (0.3, 0.3))]
    write(results, "ngm-sgd", [("completed", *scores) for scores in on_test], "confirm")
    write(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))], "confirm")
    loaded = load(str(location))
    assert loaded.is_confirmed("split-digits")
    for pick, number in (("knee", 1), ("avg_acc", 0), ("avg_sg", 2)):
        choice, _ = choose(loaded, pick)
        assert choice.trial_id == f"split-digits.ngm-sgd.{number:04d}.confirm"
        assert choice.scores["avg_acc"] == pytest.approx(on_test[number][0][0])
        assert (
            "of 3 confirmed points on the front of the search, on validation data"
            in choice.explanation
        )


def test_what_fails_on_test_data_is_passed_over_and_that_is_said(location: Path) -> None:
    (location / "study.toml").write_text(STUDY + "confirm = { top = 3, seeds = 2 }\n")
    results = Results(str(location))
    scores = [(0.80, 0.80), (0.4, 0.4)]
    write(
        results,
        "ngm-sgd",
        [("diverged", (0.0, 0.0), (1.0, 1.0)), *[("completed", *scores)] * 2],
        "confirm",
    )
    write(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))], "confirm")
    first, second = choose(load(str(location)), "avg_acc")
    assert first.trial_id != "split-digits.ngm-sgd.0000.confirm"  # the best one of the search
    assert "of 2 confirmed points on the front of the search" in first.explanation
    assert "but for 1 that failed, diverged or broke a constraint on test" in first.explanation
    assert "but for" not in second.explanation


def test_defaults_name_settings_reasons_and_provenance(location: Path) -> None:
    path, choices = write_defaults(str(location))
    content = tomllib.loads(path.read_text())
    assert path == location / "defaults.toml"
    assert len(choices) == 2  # adam has no completed trial
    entry = content["defaults"][0]
    assert entry["hyperparameters"] == pytest.approx({"lr": 0.2, "gain_sensitivity": 0.25})
    assert entry["scores"]["avg_sg"] == pytest.approx(0.1)
    assert "nearest to the ideal" in entry["why"]
    assert content["provenance"]["study"] == "made-up"
    assert content["provenance"]["pick"] == "knee"


def test_defaults_replace_nothing_but_defaults(location: Path, tmp_path: Path) -> None:
    write_defaults(str(location))
    mine = tmp_path / "mine.toml"
    write_defaults(str(location), mine, "avg_acc")
    write_defaults(str(location), mine, "avg_sg")
    assert tomllib.loads(mine.read_text())["provenance"]["pick"] == "avg_sg"
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")
    write_defaults(str(location), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty").read_text() == (location / "defaults.toml").read_text()
    write_defaults(str(location), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    (tmp_path / "notes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    for name in ("study.toml", "notes", "folder"):
        file = tmp_path / name
        before = file.read_bytes() if file.is_file() else None
        with pytest.raises(UserError, match=f"{name}: it is there already and no file of"):
            write_defaults(str(location), file)
        assert before is None or file.read_bytes() == before


def test_where_nothing_can_be_chosen_nothing_is_written(location: Path) -> None:
    (location / "study.toml").write_text('constraints = ["avg_acc >= 0.99"]\n' + STUDY)
    with pytest.raises(UserError, match=r"no trial completed .* and kept avg_acc >= 0\.99"):
        write_defaults(str(location))
    assert not (location / "defaults.toml").exists()


def test_unknown_pick(location: Path) -> None:
    with pytest.raises(UserError, match="--pick x: allowed are knee, avg_acc, avg_sg"):
        choose(load(str(location)), "x")


def test_nothing_completed_is_said(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write_text("study.toml", STUDY)
    with pytest.raises(UserError, match=r"no run completed, so .*: none at all"):
        load(str(tmp_path))


def test_a_study_file_that_is_none(tmp_path: Path) -> None:
    Results(str(tmp_path)).write_text("study.toml", "x = 1\n")
    with pytest.raises(UserError, match=r"study\.toml: no study of this version"):
        load(str(tmp_path))
