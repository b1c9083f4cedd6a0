"""Export of chosen configurations."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ngm_tune.analysis import write_defaults
from ngm_tune.errors import UserError
from tests.helpers.fronts import STUDY


def test_the_file_contains_hyperparameters_reasons_and_provenance(fronts: Path) -> None:
    path, choices = write_defaults(str(fronts))
    content = tomllib.loads(path.read_text())
    assert path == fronts / "defaults.toml"
    assert len(choices) == 2  # adam has no completed trial
    entry = content["defaults"][0]
    assert entry["hyperparameters"] == pytest.approx({"lr": 0.2, "gain_sensitivity": 0.25})
    assert entry["scores"]["avg_sg"] == pytest.approx(0.1)
    assert "nearest to the ideal" in entry["why"]
    assert content["provenance"]["study"] == "made-up"
    assert content["provenance"]["pick"] == "knee"


def test_only_files_written_by_defaults_are_replaced(fronts: Path, tmp_path: Path) -> None:
    write_defaults(str(fronts))
    mine = tmp_path / "mine.toml"
    write_defaults(str(fronts), mine, "avg_acc")
    write_defaults(str(fronts), mine, "avg_sg")
    assert tomllib.loads(mine.read_text())["provenance"]["pick"] == "avg_sg"
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
