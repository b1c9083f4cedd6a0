"""The ``ngm-tune`` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ngm_tune import __version__
from ngm_tune.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
if not console.is_terminal:
    console.width = 140  # a file or pipe has no width to fit

ResultsArgument = Annotated[
    str, typer.Argument(metavar="RESULTS", help="A results directory, as `ngm-tune run` makes.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The folder that datasets are in, or are downloaded to.",
        show_default="the environment variable NGM_TUNE_DATA",
    ),
]
PickOption = Annotated[
    str,
    typer.Option(
        "--pick",
        help="Which point of each front: `knee`, or the name of an objective to put first.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ngm-tune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hyper-parameter studies of NGM-SGD and its rivals in continual learning.

    A study finds, for every method and at equal effort, the trade-offs between average accuracy
    and the stability gap; its report draws their Pareto fronts.
    """


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune run quickstart`\n\n"
    "`ngm-tune run quickstart --set trials=4 --set seeds=1 --results /tmp/first-look`\n\n"
    "`ngm-tune run my-study.toml`"
)
def run(
    study: Annotated[
        str, typer.Argument(help="A study of `ngm-tune studies`, or the path of a TOML file.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace an entry of the study."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where results go.", show_default="results/ and the study's name"
        ),
    ] = None,
    data: DataOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what Ray and its workers say.")
    ] = False,
) -> None:
    """Run a study, or go on with one that was interrupted."""
    _use_data_folder(data)
    from ngm_tune import runner
    from ngm_tune.progress import progress_display, standing
    from ngm_tune.study_files import load_study

    loaded = load_study(study, set_ or []).resolved()
    location = results or f"results/{loaded.name}"
    arms = runner.prepare(loaded, location)
    total = sum(arm.trials for arm in arms)
    done = sum(len(arm.outcomes) for arm in arms)
    if done == total and not runner.owes_costs(loaded, location):
        runner.close(arms)
        console.print(f"{loaded.name} is complete: all {total} trials are in {location}")
        console.print(standing(loaded, arms))
        return

    trials, seeds = _count(loaded.trials, "trial"), _count(len(loaded.seed_list), "seed")
    console.print(
        f"{loaded.name}: {trials} of {seeds} for each of {_count(len(loaded.methods), 'method')} "
        f"on {', '.join(loaded.benchmarks)}"
        + (f"; {done} of {total} trials are there already" if done else "")
    )
    with progress_display(console, loaded, arms):
        runner.run(loaded, location, arms, verbose=verbose)

    outcomes = [outcome for arm in arms for outcome in arm.outcomes]
    if not console.is_terminal:
        console.print(standing(loaded, arms))
    if len(outcomes) < total:
        console.print(
            f"Stopped with {len(outcomes)} of {total} trials done. The same command goes on."
        )
        raise typer.Exit(130)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed:
        console.print(f"{failed} of {total} trials failed; see {location}/failures")
    console.print(f"Results are in {location}. `ngm-tune analyze {location}` makes the report.")
    if failed == total:
        raise typer.Exit(1)


@app.command(epilog="Example:\n\n`ngm-tune analyze results/quickstart`")
def analyze(
    results: ResultsArgument,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the report goes.", show_default="RESULTS/report"),
    ] = None,
    pick: PickOption = "knee",
) -> None:
    """Write the report: one HTML file, and its charts and tables as files beside it."""
    from ngm_tune.analysis import write_report

    report = write_report(results, output, pick)
    if report.published:
        _print_table(tuple(report.published[0]), [row.values() for row in report.published])
        if report.departures:
            console.print(f"Not the paper's protocol: {', '.join(report.departures)}.")
    console.print(f"Report: {report.page}")


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune defaults results/quickstart`\n\n"
    "`ngm-tune defaults results/quickstart --pick avg_acc --output mine.toml`"
)
def defaults(
    results: ResultsArgument,
    pick: PickOption = "knee",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file to write.", show_default="RESULTS/defaults.toml"
        ),
    ] = None,
) -> None:
    """Pick a point of each method's front and write its settings, with where they come from."""
    from ngm_tune.analysis import write_defaults

    path, choices = write_defaults(results, output, pick)
    for choice in choices:
        console.print(choice.explanation)
    console.print(f"Written to {path}")


@app.command(epilog="Example:\n\n`ngm-tune data split-mnist --data /datasets`")
def data(
    benchmark: Annotated[
        str,
        typer.Argument(help="A benchmark of `ngm-tune benchmarks`, or `custom` with --study."),
    ],
    folder: DataOption = None,
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study that says what `custom` is.")
    ] = None,
) -> None:
    """Find or download the data of a benchmark, verify it, and say what there is."""
    from ngm_tune.benchmarks import get_benchmark
    from ngm_tune.benchmarks.sources import load_images

    _use_data_folder(folder)
    custom = None
    if study is not None:
        from ngm_tune.study_files import load_study

        custom = load_study(study).resolved().custom
    try:
        found = get_benchmark(benchmark, custom)
    except ValueError as error:
        hint = "; custom is what the table of a study says, named with --study"
        raise UserError(f"{error}{hint if benchmark == 'custom' else ''}") from None
    source = found.source
    if source is not None:
        for split in source.counts:
            images = load_images(source, split)
            known = "the original's" if split in source.checksums else "no reference known"
            console.print(
                f"{source.name}, {split}: {len(images.labels)} images from {images.origin}; count, "
                f"shape and classes as they should be; SHA-256 {images.checksum()[:16]}, {known}"
            )
    loaded = found.load()
    splits = (("train", loaded.train), ("validation", loaded.validation), ("test", loaded.test))
    _print_table(
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
    """List the studies that come with ngm-tune."""
    from ngm_tune.study_files import shipped_studies

    _print_table(
        ("study", "benchmarks", "methods", "trials", "seeds", "about"),
        (
            (
                name,
                ", ".join(study.benchmarks),
                str(len(study.methods)),
                str(study.trials),
                str(len(study.seed_list)),
                study.title,
            )
            for name, study in shipped_studies().items()
        ),
    )


@app.command()
def benchmarks() -> None:
    """List the benchmarks; each has the variants joint, replay and naive (a key of the study)."""
    from ngm_tune.benchmarks import BENCHMARKS

    _print_table(
        ("benchmark", "kind", "tasks", "classes", "batch", "iterations per task"),
        (
            (b.name, b.kind, b.tasks, b.classes, b.batch_size, b.iterations_per_task)
            for b in BENCHMARKS.values()
        ),
    )


@app.command()
def methods() -> None:
    """List the methods and the spaces their hyper-parameters are searched in."""
    from ngm_tune.methods import methods as all_methods

    _print_table(
        ("method", "title", "searched", "told of tasks", "source"),
        (
            (
                method.name,
                method.title,
                ", ".join(f"{k} {_range(d)}" for k, d in method.space.items()),
                "yes" if method.told else "",
                method.source,
            )
            for method in all_methods().values()
        ),
    )


def _range(distribution: object) -> str:
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    if low is None:
        return str(getattr(distribution, "choices", distribution))
    return f"{low:g}..{high:g}" + (" (log)" if getattr(distribution, "log", False) else "")


def _use_data_folder(folder: Path | None) -> None:
    if folder is None:
        return
    if not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder")
    os.environ["NGM_TUNE_DATA"] = str(folder.resolve())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _print_table(header: tuple[str, ...], rows: object) -> None:
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:  # type: ignore[attr-defined]
        table.add_row(*map(str, row))
    console.print(table)


def main() -> None:
    """Run the command; what the user can mend is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"ngm-tune: {error}", file=sys.stderr)
        sys.exit(2)
