"""Export of chosen configurations."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ngm_tune.analysis import write_defaults
from ngm_tune.errors import UserError
from ngm_tune.optim.defaults import load_defaults
from tests.helpers.fronts import STUDY
from tests.helpers.transferred import make_transfers


def test_the_file_contains_hyperparameters_reasons_and_provenance(fronts: Path) -> None:
    path, choices, new_data, missing = write_defaults(str(fronts))
    content = tomllib.loads(path.read_text())
    assert path == fronts / "defaults.toml"
    assert len(choices) == 2  # adam has no completed trial
    assert (new_data, missing) == ([], [])
    entry = content["defaults"][0]
    assert entry["hyperparameters"] == pytest.approx({"lr": 0.2, "gain_sensitivity": 0.25})
    assert entry["scores"]["avg_sg"] == pytest.approx(0.1)
    assert "nearest to the ideal" in entry["why"]
    assert content["provenance"]["study"] == "made-up"
    assert content["provenance"]["select"] == "knee"


def test_only_files_written_by_defaults_are_replaced(fronts: Path, tmp_path: Path) -> None:
    write_defaults(str(fronts))
    mine = tmp_path / "mine.toml"
    write_defaults(str(fronts), mine, "avg_acc")
    write_defaults(str(fronts), mine, "avg_sg")
    assert tomllib.loads(mine.read_text())["provenance"]["select"] == "avg_sg"
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")
    write_defaults(str(fronts), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty").read_text() == (fronts / "defaults.toml").read_text()
    write_defaults(str(fronts), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    (tmp_path / "notes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    for name in ("study.toml", "notes", "folder"):
        file = tmp_path / name
        before = file.read_bytes() if file.is_file() else None
        with pytest.raises(UserError, match=f"{name}: exists and was not written by"):
            write_defaults(str(fronts), file)
        assert before is None or file.read_bytes() == before


def test_no_file_is_written_without_a_choice(fronts: Path) -> None:
    (fronts / "study.toml").write_text('constraints = ["avg_acc >= 0.99"]\n' + STUDY)
    with pytest.raises(UserError, match=r"no trial completed .* and satisfied avg_acc >= 0\.99"):
        write_defaults(str(fronts))
    assert not (fronts / "defaults.toml").exists()


def test_entries_have_intervals_regret_and_provenance(tmp_path: Path) -> None:
    points = {
        "split-digits": [[{"split-digits": (0.8, 0.5), "rotated-digits": (0.7, 0.5)}]] * 3,
        "rotated-digits": [[{"split-digits": (0.6, 0.5), "rotated-digits": (0.9, 0.5)}]] * 3,
    }
    make_transfers(tmp_path, points)
    written = write_defaults(str(tmp_path))
    content = tomllib.loads(written.path.read_text())
    assert (content["provenance"]["select"], content["provenance"]["searches"]) == ("knee", 3)
    entry = content["defaults"][1]
    assert (entry["study"], entry["repetition"]) == ("made-up", 0)
    assert entry["trial_id"] == "rotated-digits.sgd.0000.confirm"
    assert entry["scores"] == pytest.approx({"avg_acc": 0.9, "avg_sg": 0.5})
    assert entry["intervals"]["avg_acc"]["seeds"] == 3
    assert entry["over_repetitions"]["avg_acc"]["repetitions"] == 3
    assert entry["regret"] == {"mean": 0.0, "interval": [0.0, 0.0], "repetitions": 3}
    (new_data,) = content["new_data"]
    assert new_data["regret"]["mean"] == pytest.approx(0.1)
    assert set(new_data["left_out"]) == {"split-digits", "rotated-digits"}
    assert load_defaults("sgd", "rotated-digits", written.path) == {"lr": 0.1}


def test_methods_that_miss_the_bound_are_named(fronts: Path) -> None:
    written = write_defaults(str(fronts), select="avg_acc >= 0.94")
    assert [choice.method for choice in written.choices] == ["ngm-sgd"]
    assert written.missing == ["split-digits, sgd: none of 1 point satisfies avg_acc >= 0.94"]
    with pytest.raises(UserError, match=r"no configuration satisfies avg_acc >= 0\.99"):
        write_defaults(str(fronts), select="avg_acc >= 0.99")
