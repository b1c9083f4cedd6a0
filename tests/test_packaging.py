"""The built wheel holds everything and works from anywhere."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Finished
from tests.helpers.commands import environment

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, made by way of the source distribution."""
    dist = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = dist.glob("*.whl")
    site = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_the_wheel_holds_everything_and_claims_one_name(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"ngm_tune"}
    for path in ROOT.glob("ngm_tune/**/*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert (installed / path.relative_to(ROOT)).is_file(), path
    for folder, pattern in (("analysis", "**/*"), ("studies", "*.toml")):
        for path in (ROOT / folder).glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (installed / "ngm_tune" / path.relative_to(ROOT)).is_file(), path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory with folders of its own that have our names and must not be imported."""
    for name in ("analysis", "studies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    return tmp_path


def run(elsewhere: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=elsewhere,
        env=environment(site),
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_works_beside_a_folder_named_analysis(installed: Path, elsewhere: Path) -> None:
    listed = run(elsewhere, installed, "-m", "ngm_tune", "studies")
    assert listed.returncode == 0, listed.stderr
    assert "quickstart" in listed.stdout
    where = run(elsewhere, installed, "-c", "import ngm_tune.analysis as a; print(a.__file__)")
    assert where.stdout.startswith(str(installed))


def test_analyze_runs_where_torch_and_ray_cannot_be_imported(
    installed: Path, elsewhere: Path, finished: Finished
) -> None:
    blocked = elsewhere / "blocked"
    blocked.mkdir()
    for name in ("torch", "ray", "optuna", "torchvision", "sklearn"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not installed')\n")
    for command in ("analyze", "defaults"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ngm_tune",
                command,
                finished.location,
                "--output",
                f"out-{command}",
            ],
            cwd=elsewhere,
            env=environment(blocked, installed),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (elsewhere / "out-analyze" / "report.html").is_file()
