"""Listings: ``ngm-tune data``, ``studies``, ``benchmarks``, ``methods`` and ``metrics``."""

from __future__ import annotations

from typing import Annotated

import typer

from ngm_tune.cli.app import app
from ngm_tune.cli.terminal import (
    DataOption,
    MethodsOption,
    console,
    print_table,
    use_data_folder,
    use_methods,
)
from ngm_tune.errors import UserError, printable


@app.command(epilog="Example:\n\n`ngm-tune data split-mnist --data /datasets`")
def data(
    benchmark: Annotated[
        str,
        typer.Argument(help="A benchmark from `ngm-tune benchmarks`, or `custom` with --study."),
    ],
    folder: DataOption = None,
    study: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="The study that defines the benchmark `custom`."),
    ] = None,
    methods: MethodsOption = None,
) -> None:
    """Find or download the data of a benchmark, verify it and describe it."""
    from ngm_tune.benchmarks import get_benchmark
    from ngm_tune.benchmarks.folders import data_folder
    from ngm_tune.benchmarks.sources import load_images

    use_data_folder(folder)
    custom = None
    if study is not None:
        from ngm_tune.study.files import load_study

        use_methods(methods)
        custom = load_study(study).resolved().custom
    try:
        selected = get_benchmark(benchmark, custom)
    except ValueError as error:
        hint = "; name the study that defines custom with --study"
        raise UserError(f"{error}{hint if benchmark == 'custom' else ''}") from None
    source = selected.source
    if source is not None:
        for split in source.counts:
            images = load_images(source, split)
            verified = (
                "equal to the reference" if split in source.checksums else "no reference exists"
            )
            console.print(
                f"{source.name}, {split}: {len(images.labels)} images from {images.origin}; count, "
                f"shape and classes are correct; checksum {images.checksum()[:16]}, {verified}"
            )
    elif custom is not None and not isinstance(custom.tasks, int):
        parts = custom.normalisation or ((), ())
        mean, deviation = (", ".join(f"{value:.3f}" for value in part) for part in parts)
        console.print(
            f"custom: images from {data_folder() / custom.path}; pixel mean {mean}, pixel standard "
            f"deviation {deviation}"
        )
        for number, classes in enumerate(custom.tasks, start=1):
            console.print(f"task {number}: {', '.join(classes)}")
    loaded = selected.load()
    console.print(
        f"Checksum of the tasks, as in environment.json: {selected.name} {loaded.checksum()[:16]}"
    )
    splits = (("train", loaded.train), ("validation", loaded.validation), ("test", loaded.test))
    print_table(
        ("split", "examples", "shape", "examples per task"),
        (
            (
                name,
                len(split.labels),
                " x ".join(map(str, split.inputs.shape[1:])),
                ", ".join(map(str, split.sizes)),
            )
            for name, split in splits
        ),
    )


@app.command()
def studies() -> None:
    """List the studies that ship with ngm-tune."""
    from ngm_tune.study.shipped import shipped_contents

    print_table(
        ("study", "benchmarks", "methods", "searches", "trials", "about"),
        (
            (
                name,
                ", ".join(content["benchmarks"]),
                len(content["methods"]),
                content["searches"],
                content["trials"],
                content["title"],
            )
            for name, content in shipped_contents().items()
        ),
    )


@app.command()
def benchmarks() -> None:
    """List the benchmarks; the key `strategy` of a study selects joint, replay or naive."""
    from ngm_tune.benchmarks import BENCHMARKS

    print_table(
        ("benchmark", "kind", "tasks", "classes", "batch", "iterations per task"),
        (
            (b.name, b.kind, b.tasks, b.classes, b.batch_size, b.iterations_per_task)
            for b in BENCHMARKS.values()
        ),
    )


@app.command()
def methods(files: MethodsOption = None) -> None:
    """List the methods, their search spaces, and the package or file that each comes from."""
    from importlib.metadata import version

    from ngm_tune.methods.named_spaces import NAMED_SPACES
    from ngm_tune.methods.registry import current_registry

    use_methods(files)
    rows = [
        (
            method.name,
            method.title,
            ", ".join(f"{k} {_range(d)}" for k, d in method.space.items()),
            "yes" if method.task_aware else "",
            method.source,
            current_registry().origins.get(name, "ngm-tune"),
        )
        for name, method in current_registry().methods.items()
    ]
    for name, known in NAMED_SPACES.items():
        library, _, title = name.partition(":")
        package = library.replace("_", "-")
        space = ", ".join(f"{k} {_range(d)}" for k, d in known.space.items())
        rows.append((name, title, space, "", known.source, f"{package} {version(package)}"))
    print_table(("method", "title", "search space", "task-aware", "source", "from"), rows)
    for broken in current_registry().broken:
        console.print(printable(f"Not usable: {broken.method}: {broken.reason}"))
    console.print(
        "Every other optimizer of torch.optim and pytorch_optimizer is a method, too, such as "
        "torch:Adadelta; the study gives its search space."
    )


@app.command()
def metrics() -> None:
    """List the metrics. A metric with a worst value can be an objective of a study."""
    from ngm_tune.metrics.registry import METRICS

    print_table(
        ("metric", "title", "better", "ideal", "worst", "unit", "source"),
        (
            (
                metric.name,
                metric.title,
                "higher" if metric.direction == "maximize" else "lower",
                f"{metric.best:g}",
                "–" if metric.worst is None else f"{metric.worst:g}",
                metric.unit,
                metric.source,
            )
            for metric in METRICS.values()
        ),
    )


def _range(distribution: object) -> str:
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    if low is None:
        return str(getattr(distribution, "choices", distribution))
    return f"{low:g}..{high:g}" + (" (log)" if getattr(distribution, "log", False) else "")
