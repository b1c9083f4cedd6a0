"""Custom benchmarks: folders of images and Parquet files, cut into tasks by a study."""

from __future__ import annotations

import io
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ngm_tune.benchmarks import Custom, get_benchmark
from ngm_tune.benchmarks.custom_images import resolve
from ngm_tune.benchmarks.models import MLP, SlimResNet18
from ngm_tune.errors import UserError

CLASSES = ("ant", "bee", "cat", "dog")
PER_CLASS = 20


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("NGM_TUNE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def picture(label: int, number: int) -> Image.Image:
    """Return an image whose brightness is 50 times the class plus the number."""
    return Image.new("RGB", (12, 10), (50 * label + number,) * 3)


def write_folder(folder: Path, count: int = PER_CLASS, suffix: str = "png") -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(label, number).save(folder / name / f"{number:03}.{suffix}")
        (folder / name / "notes.txt").write_text("no image")


def write_parquet(path: Path, names: bool, count: int = PER_CLASS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images, labels = [], []
    for number in range(count):
        for label in range(len(CLASSES)):
            stream = io.BytesIO()
            picture(label, number).save(stream, format="PNG")
            images.append({"bytes": stream.getvalue(), "path": None})
            labels.append(label)
    table = pa.table({"image": images, "label": labels})
    if names:
        features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    pq.write_table(table, path)


def custom(**settings: Any) -> Custom:
    return resolve(Custom(**{"path": "pets", "tasks": 2, "size": 8, **settings}))


def brightness(inputs: torch.Tensor) -> list[int]:
    assert (inputs == inputs[:, :1, :1, :1]).all()
    return inputs[:, 0, 0, 0].tolist()


def test_a_folder_of_images_is_cut_into_tasks(data: Path) -> None:
    write_folder(data / "pets")
    benchmark = get_benchmark("custom", custom())
    loaded = benchmark.load()
    assert (benchmark.tasks, benchmark.classes, benchmark.kind) == (2, 4, "class-incremental")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [len(part.labels) for part in parts] == [
        57,
        7,
        16,
    ]  # a fifth for testing, then a tenth for validation
    everything = sorted(value for part in parts for value in brightness(part.inputs))
    assert everything == sorted(50 * c + n for c in range(4) for n in range(PER_CLASS))
    for part in parts:
        assert [value // 50 for value in brightness(part.inputs)] == part.labels.tolist()
        first, second = torch.split(part.labels, list(part.sizes))
        assert set(first.tolist()) == {0, 1}
        assert set(second.tolist()) == {2, 3}


def test_tasks_can_be_named_class_by_class(data: Path) -> None:
    write_folder(data / "pets")
    benchmark = get_benchmark("custom", custom(tasks=[["dog"], ["ant", "cat"]]))
    test = benchmark.load().test
    assert (benchmark.tasks, benchmark.classes) == (2, 3)
    assert test.sizes == (4, 8)
    original = {0: 3, 1: 0, 2: 2}  # numbered in the order of the tasks
    assert [original[label] for label in test.labels.tolist()] == [
        value // 50 for value in brightness(test.inputs)
    ]


def test_train_and_test_folders_are_separate_splits(data: Path) -> None:
    write_folder(data / "pets" / "train", suffix="jpg")
    write_folder(data / "pets" / "test", count=3, suffix="webp")
    loaded = get_benchmark("custom", custom()).load()
    assert len(loaded.test.labels) == 12
    assert len(loaded.train.labels) + len(loaded.validation.labels) == 80


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        "pets.parquet",
        "pets/train-00000-of-00001.parquet",
        "pets/data/train-00000-of-00001.parquet",
    ],
)
def test_parquet_with_and_without_class_names(data: Path, place: str, names: bool) -> None:
    write_parquet(data / place, names)
    chosen = [["dog"], ["bee"]] if names else [["3"], ["1"]]
    resolved = custom(path=place.partition("/")[0], tasks=chosen)
    test = get_benchmark("custom", resolved).load().test
    assert {value // 50 for value in brightness(test.inputs)} == {1, 3}


def test_normalisation_is_computed_from_the_training_images(data: Path) -> None:
    write_folder(data / "pets")
    benchmark = get_benchmark("custom", custom())
    values = np.array([50 * c + n for c in range(4) for n in range(PER_CLASS)]) / 255
    mean, deviation = benchmark.normalisation or ((), ())
    train = get_benchmark("custom", custom()).load().train.inputs[:, 0, 0, 0].double() / 255
    assert mean == pytest.approx([train.mean().item()] * 3)
    assert deviation == pytest.approx([train.std(correction=0).item()] * 3)
    assert mean == pytest.approx([values.mean()] * 3, rel=0.05)
    given = custom(normalisation=[[0.5] * 3, [0.25] * 3])
    assert get_benchmark("custom", given).normalisation == ((0.5,) * 3, (0.25,) * 3)


def test_the_network_depends_on_the_images(data: Path) -> None:
    write_folder(data / "pets")
    grey = get_benchmark("custom", custom(channels=1))
    assert isinstance(model := grey.build_model(), MLP)
    assert model(grey.prepare(grey.load().test.inputs)).shape == (16, 4)
    assert grey.settings == {}
    coloured = get_benchmark("custom", custom(size=32, augment=True))
    assert isinstance(model := coloured.build_model(), SlimResNet18)
    assert model(coloured.prepare(coloured.load().test.inputs)).shape == (16, 4)
    assert coloured.settings["layers"] == "output"
    assert coloured.augment is not None
    one = get_benchmark("custom", custom(channels=1, model="slim-resnet18"))
    assert one.build_model()(one.prepare(one.load().test.inputs)).shape == (16, 4)


def test_a_resolved_table_can_be_serialised(data: Path) -> None:
    write_folder(data / "pets")
    resolved = custom()
    assert resolved.tasks == [["ant", "bee"], ["cat", "dog"]]
    assert Custom.model_validate(resolved.model_dump(mode="json")) == resolved


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"path": "nothing"}, "custom.path = 'nothing': .*nothing does not exist"),
        ({"path": "empty"}, "has neither train-.*parquet nor one folder of images"),
        ({"path": "hollow"}, "hollow/ant: no images; supported are .png"),
        ({"tasks": 9}, "custom.tasks = 9: must divide the number of classes, 4; or list the"),
        ({"tasks": 3}, "list the classes of each task, out of ant, bee, cat, dog"),
        ({"path": "apart"}, "apart/test: the class bee has no folder in train/"),
        ({"tasks": [["ant"], ["cow"]]}, "custom.tasks has 'cow', which is not a class of pets"),
        ({"path": "broken"}, "broken/ant/000.png cannot be decoded"),
        ({"path": "empty.parquet"}, "empty.parquet: no rows"),
        (
            {"path": "huge.parquet"},
            "huge.parquet: image 0: label = 1099511627776; must be a class index",
        ),
        ({"path": "twice.parquet"}, "two classes have the name crane"),
        ({"path": "hollow.parquet"}, "no column of images"),
        ({"path": "torn.parquet"}, "torn.parquet: not readable as Parquet"),
        ({"path": "loose"}, "has neither train-.*parquet nor one folder of images"),
        ({"path": "valid"}, "valid: has val besides train/, but only test/ is supported"),
        ({"path": "other", "tasks": [["8"], ["9"]]}, "no training image has a class of the tasks"),
        ({"test_share": 0.01}, "to hold out 1% of .*: the 4 classes have 20, 20, 20, 20 images"),
        ({"path": "mixed"}, "mixed: train-.*parquet is in coarse, fine; keep or name one of these"),
        ({"path": "few.parquet"}, "few.parquet: it names 3 classes and has images with label = 3"),
        ({"path": "order"}, "order/test-0.parquet: its class names differ from those of"),
        ({"path": "nested.parquet", "tasks": [["ant"], ["bee"]]}, "its classes are 0, 1, 2, 3"),
        ({"path": "pets.parquet", "label": "kind"}, "no column kind of integers; its columns are"),
    ],
)
def test_invalid_data_is_a_user_error(data: Path, settings: dict[str, Any], sentence: str) -> None:
    write_folder(data / "pets")
    (data / "empty").mkdir()
    (data / "hollow" / "ant").mkdir(parents=True)
    (data / "broken" / "ant").mkdir(parents=True)
    (data / "apart" / "train" / "ant").mkdir(parents=True)
    (data / "apart" / "test" / "bee").mkdir(parents=True)
    (data / "broken" / "ant" / "000.png").write_bytes(b"no image")
    (data / "torn.parquet").write_bytes(b"PAR1")
    for part in ("loose/train", "loose/test", "valid/train/ant", "valid/val/ant"):
        (data / part).mkdir(parents=True)
        picture(0, 0).save(data / part / "0.png")
    write_parquet(data / "pets.parquet", names=True)
    write_parquet(data / "mixed" / "fine" / "train-0.parquet", names=True)
    write_parquet(data / "mixed" / "coarse" / "train-0.parquet", names=True)
    write_parquet(data / "order" / "train-0.parquet", names=True)
    (data / "other").mkdir()
    whole = pq.read_table(data / "pets.parquet")
    labels = whole.schema.get_field_index("label")
    images = whole.schema.get_field_index("image")

    def named(*names: str) -> pa.Table:
        features = {"label": {"names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return whole.replace_schema_metadata(metadata)

    paths = pa.array([{"path": "a.png"}] * whole.num_rows)
    for name, table in {
        "empty": whole[:0],
        "huge": whole.set_column(labels, "label", pa.array([2**40] * whole.num_rows)),
        "twice": named("crane", "bee", "crane", "dog"),
        "few": named("ant", "bee", "cat"),
        "other/train-0": whole.replace_schema_metadata({}),
        "other/test-0": whole.replace_schema_metadata({}).set_column(
            labels, "label", pa.array([8, 9] * (whole.num_rows // 2))
        ),
        "order/test-0": named("dog", "cat", "bee", "ant"),
        "nested": whole.replace_schema_metadata({"huggingface": "[" * 100_000}),
        "hollow": whole.set_column(images, "image", paths),
    }.items():
        pq.write_table(table, data / f"{name}.parquet")
    with pytest.raises(UserError, match=sentence) as error:
        custom(**settings)
    assert "\n" not in str(error.value)


def test_without_a_test_folder_training_images_are_split(data: Path) -> None:
    write_folder(data / "pets" / "train")
    assert get_benchmark("custom", custom()).load().test.sizes == (8, 8)


def test_a_class_can_have_the_name_train(data: Path) -> None:
    write_folder(data / "pets")
    (data / "pets" / "ant").rename(data / "pets" / "train")
    (data / "pets" / "train" / "thumbs").mkdir()
    assert custom().tasks == [["bee", "cat"], ["dog", "train"]]


@pytest.mark.parametrize("test", ["train/test-0.parquet", "test/test-0.parquet", "test-0.parquet"])
def test_parquet_test_files_can_be_in_several_places(data: Path, test: str) -> None:
    write_parquet(data / "pets" / "train" / "train-0.parquet", names=True)
    write_parquet(data / "pets" / test, names=True, count=3)
    assert len(get_benchmark("custom", custom()).load().test.labels) == 12


def test_file_names_need_not_be_valid_text_but_class_names_must(data: Path) -> None:
    write_folder(data / "pets")
    strange = os.fsdecode(b"\xe9t\xe9.png")
    (data / "pets" / "ant" / "000.png").rename(data / "pets" / "ant" / strange)
    assert len(get_benchmark("custom", custom()).load().test.labels) == 16
    (data / "pets" / "dog").rename(data / "pets" / os.fsdecode(b"\xe9"))
    with pytest.raises(UserError, match=r"the name of the folder '\\udce9' is not valid text"):
        custom()


def test_a_class_outside_the_tasks_can_have_a_single_image(data: Path) -> None:
    write_folder(data / "pets")
    (data / "pets" / "yak").mkdir()
    picture(4, 0).save(data / "pets" / "yak" / "0.png")
    loaded = get_benchmark("custom", custom(tasks=[["ant", "bee"], ["cat"]])).load()
    assert loaded.test.sizes == (8, 4)
    with pytest.raises(UserError, match="too few images to hold out 20% of every class"):
        custom(tasks=[["ant", "bee"], ["yak"]])


def test_a_constant_channel_has_standard_deviation_one(data: Path) -> None:
    for label, name in enumerate(CLASSES[:2]):
        (data / "flat" / name).mkdir(parents=True)
        for number in range(20):
            value = (60, 100 * label + number, 0)
            Image.new("RGB", (8, 8), value).save(data / "flat" / name / f"{number}.png")
    benchmark = get_benchmark("custom", custom(path="flat"))
    mean, deviation = benchmark.normalisation or ((), ())
    assert (mean[0], mean[2]) == pytest.approx((60 / 255, 0.0))
    assert (deviation[0], deviation[2]) == (1.0, 1.0)
    assert 0.0 < deviation[1] < 0.5


def test_transparent_pixels_become_white(data: Path) -> None:
    for name in CLASSES[:2]:
        (data / "clear" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
            image.paste((number, 0, 0, 255), (0, 0, 8, 4))
            image.save(data / "clear" / name / f"{number}.png")
    inputs = get_benchmark("custom", custom(path="clear")).load().train.inputs
    assert (inputs[:, :, 4:] == 255).all()
    assert (inputs[:, 1:, :4] == 0).all()


def test_too_few_images_for_a_split_are_a_user_error(data: Path) -> None:
    write_folder(data / "pets", count=1)
    with pytest.raises(UserError, match="too few images to hold out 20% of every class"):
        custom()


def test_a_class_without_images_in_a_split_is_a_user_error(data: Path) -> None:
    write_folder(data / "pets" / "train")
    write_folder(data / "pets" / "test", count=3)
    write_parquet(data / "flat" / "train-0.parquet", names=True)
    table = pq.read_table(data / "flat" / "train-0.parquet")
    few = table.filter(pa.compute.less(table["label"], 3))
    pq.write_table(few, data / "flat" / "test-0.parquet")
    assert get_benchmark("custom", custom()).load().test.sizes == (6, 6)
    with pytest.raises(UserError, match="the class dog has no images for test"):
        get_benchmark("custom", custom(path="flat")).load()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_images_with_16_bits_keep_their_grey_levels(data: Path, suffix: str) -> None:
    for name in ("dark", "light"):
        (data / "deep" / name).mkdir(parents=True)
        for number in range(10):
            value = 256 * (40 if name == "dark" else 200) + number
            pixels = np.full((8, 8), value, dtype=np.uint16)
            Image.fromarray(pixels).save(data / "deep" / name / f"{number}.{suffix}")
    for channels in (1, 3):
        loaded = get_benchmark("custom", custom(path="deep", channels=channels)).load()
        assert set(loaded.train.inputs.unique().tolist()) == {40, 200}


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_with_an_unknown_range_are_a_user_error(data: Path, kind: type) -> None:
    (data / "wide" / "ant").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 200, dtype=kind)).save(data / "wide" / "ant" / "0.tif")
    with pytest.raises(UserError, match=r"0\.tif cannot be .* the range of its pixels is unknown"):
        custom(path="wide", tasks=[["ant"], ["bee"]])


def test_a_cache_that_cannot_be_written_is_a_user_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(data / "pets")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(UserError, match=r"cannot be written: .* XDG_CACHE_HOME"):
        custom()


def test_photographs_are_upright(data: Path) -> None:
    write_folder(data / "pets")
    sideways = np.zeros((8, 8, 3), np.uint8)
    sideways[:, 4:] = 200  # bright on the right; upright, it is bright at the top
    exif = Image.Exif()
    exif[0x0112] = 8  # turn by 90 degrees counter-clockwise
    for file in (data / "pets/ant").glob("*.png"):
        Image.fromarray(sideways).save(file, exif=exif)
    pixels = get_benchmark("custom", custom()).load().train.inputs[0]
    assert (pixels[:, :4] == 200).all()
    assert (pixels[:, 4:] == 0).all()


def test_images_as_cameras_archives_and_people_leave_them_are_read(data: Path) -> None:
    write_folder(data / "pets", count=12)
    for number in range(4):
        folder = data / "pets/ant/from the garden"
        folder.mkdir(exist_ok=True)
        picture(0, number).save(folder / f"{number}.png")
        picture(0, number).save(data / f"pets/ant/a{number}.jfif", format="JPEG")
        picture(0, number).save(data / f"pets/ant/b{number}.avif")
    (data / "pets/ant/._a0.png").write_bytes(b"resource fork")
    (data / "pets/ant/.thumbnails").mkdir()
    picture(0, 0).save(data / "pets/ant/.thumbnails/0.png")
    (data / "pets/__MACOSX/ant").mkdir(parents=True)
    (data / "pets/__MACOSX/ant/._a0.png").write_bytes(b"resource fork")
    loaded = get_benchmark("custom", custom()).load()
    labels = torch.cat([s.labels for s in (loaded.train, loaded.validation, loaded.test)])
    assert labels.bincount().tolist() == [24, 12, 12, 12]


def test_images_in_other_formats_are_counted(data: Path) -> None:
    write_folder(data / "pets")
    (data / "pets/ant/photo.ico").write_bytes(b"x")
    (data / "pets/bee/photo.ico").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"images in other formats are left out: 2 \.ico"):
        get_benchmark("custom", custom()).load()


def test_numbered_classes_are_in_the_order_of_their_numbers(data: Path) -> None:
    for number in range(12):
        folder = data / "pets" / str(number)
        folder.mkdir(parents=True)
        for copy in range(20):
            picture(number % 4, copy).save(folder / f"{copy}.png")
    assert custom(tasks=6).tasks == [[str(2 * k), str(2 * k + 1)] for k in range(6)]


def test_names_are_compared_in_composed_form(data: Path) -> None:
    write_folder(data / "pets")
    decomposed = unicodedata.normalize("NFD", "bière")
    (data / "pets/ant").rename(data / "pets" / decomposed)
    resolved = custom(tasks=[[decomposed, "bee"], ["cat", "dog"]])
    assert resolved.tasks == [["bière", "bee"], ["cat", "dog"]]
    assert get_benchmark("custom", resolved).load().train.sizes[0] > 0
    (data / "pets" / unicodedata.normalize("NFC", "bière")).mkdir()
    with pytest.raises(UserError, match="two classes have the name bière"):
        custom()


def test_missing_parquet_files_are_counted(data: Path) -> None:
    write_parquet(data / "pets/train-00000-of-00003.parquet", names=True)
    with pytest.raises(UserError, match="2 of 3 files are missing beside train-00000-of-00003"):
        custom()


def test_the_converted_layout_of_the_hub_is_read(data: Path) -> None:
    write_parquet(data / "pets/default/train/0000.parquet", names=True)
    write_parquet(data / "pets/default/train/0001.parquet", names=True)
    write_parquet(data / "pets/default/test/0000.parquet", names=True, count=3)
    loaded = get_benchmark("custom", custom()).load()
    assert sum(loaded.train.sizes + loaded.validation.sizes) == 2 * PER_CLASS * len(CLASSES)
    assert sum(loaded.test.sizes) == 3 * len(CLASSES)
