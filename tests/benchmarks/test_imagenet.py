"""Split-mini-ImageNet on small generated files in its layout."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ngm_tune.benchmarks import get_benchmark, imagenet
from ngm_tune.errors import UserError

COUNTS = {"train": 200, "validation": 100, "test": 100}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NGM_TUNE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(imagenet, "MINI_IMAGENET", replace(imagenet.MINI_IMAGENET, counts=COUNTS))
    return tmp_path / "mini-imagenet" / "data"


def test_split_mini_imagenet_has_fifty_classes_in_five_tasks(data: Path) -> None:
    data.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        images = []
        for _ in range(count):  # of their original sizes
            pixels = random.integers(0, 256, (int(random.integers(90, 140)), 100, 3), np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="JPEG")
            images.append({"bytes": stream.getvalue(), "path": "n0.jpg"})
        table = pa.table({"image": images, "label": np.arange(count) % 100})
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
    benchmark = get_benchmark("split-mini-imagenet")
    loaded = benchmark.load()
    assert loaded.train.sizes == (20,) * 5
    assert loaded.validation.sizes == loaded.test.sizes == (10,) * 5
    assert loaded.train.inputs.shape == (100, 3, 84, 84)
    assert sorted(set(loaded.test.labels.tolist())) == list(range(50))
    model = benchmark.build_model()
    assert model(benchmark.prepare(loaded.test.inputs[:2])).shape == (2, 50)


def test_missing_data_names_the_download_command(data: Path) -> None:
    with pytest.raises(
        UserError, match=r"mini-ImageNet: .* has no .*; download it with `hf download timm/mini-"
    ):
        get_benchmark("split-mini-imagenet").load()
