"""``ngm-tune run``."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from enum import StrEnum
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ngm_tune.cli.app import app
from ngm_tune.cli.terminal import (
    DataOption,
    MethodsOption,
    console,
    log_to_stderr,
    print_table,
    use_data_folder,
    use_methods,
)
from ngm_tune.errors import UserError
from ngm_tune.execution.signals import SENT_BY_SCHEDULERS, deferred, graceful_signals
from ngm_tune.messages import counted

if TYPE_CHECKING:
    from ngm_tune.execution.summary import StudySummary
    from ngm_tune.search.fixed_runs import RunSource
    from ngm_tune.study.study import Study


class ExecutorChoice(StrEnum):
    """Where trials are trained."""

    RAY = "ray"
    LOCAL = "local"


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune run quickstart`\n\n"
    "`ngm-tune run quickstart --set trials=4 --set seeds=1 --results /tmp/first-look`\n\n"
    "`ngm-tune run my-study.toml --methods my.py`"
)
def run(
    study: Annotated[
        str, typer.Argument(help="A study from `ngm-tune studies`, or the path of a TOML file.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Replace an entry of the study; can be repeated."
        ),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The results directory.",
            show_default="results/ and the study's name",
        ),
    ] = None,
    data: DataOption = None,
    methods: MethodsOption = None,
    executor: Annotated[
        ExecutorChoice,
        typer.Option(help="Train on Ray, or locally in this process, to debug your own method."),
    ] = ExecutorChoice.RAY,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="OTHER_RESULTS",
            help="Start every search from the best configurations of another study.",
        ),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            min=1e-3,
            max=1e5,
            help="Stop after this time; the same command resumes the study.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT.",
            show_default="the environment variable RAY_ADDRESS, or else this machine",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Re-run failed trials.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show how many runs are left and estimate their time; run and write nothing.",
        ),
    ] = False,
    spread_of: Annotated[
        str | None,
        typer.Option(
            "--spread-of",
            metavar="OTHER_RESULTS",
            help="With --dry-run: show the smallest differences between methods that the study can "
            "resolve, if they spread as between the repetitions of an earlier study.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Show the log of ngm-tune, and the output of Ray and its workers.",
        ),
    ] = False,
) -> None:
    """Run a study, or resume one that was interrupted.

    Exit codes: 0 if the study is complete or its time budget ended it, 1 if every run failed, 2
    for a user error, explained in one line, 130 after SIGINT, SIGTERM or SIGUSR1.
    """
    use_data_folder(data)
    with log_to_stderr(verbose=verbose), _stoppable():
        # An interrupted import leaves a module half loaded; compiled modules can lose the signal.
        with deferred(signal.SIGINT, *SENT_BY_SCHEDULERS):
            from ngm_tune.cli.progress import progress_display
            from ngm_tune.execution.driver import drive
            from ngm_tune.study.files import load_study
            from ngm_tune.study.warnings import study_warnings
            from ngm_tune.workspace.manifest import is_started
            from ngm_tune.workspace.warm_start import add_warm_start_points

        def location_of(loaded: Study) -> str:
            return f"results/{loaded.name}" if results is None else results

        use_methods(methods)
        loaded = load_study(
            study, set_ or [], is_started=lambda loaded: is_started(loaded, location_of(loaded))
        ).resolved()
        location = location_of(loaded)
        if warm_start is not None:
            loaded, n_outside = add_warm_start_points(loaded, warm_start, location)
            points = counted(len(loaded.points_to_evaluate), "configuration")
            console.print(
                f"{location} already exists and is resumed; {warm_start} is not used"
                if n_outside is None
                else f"Starting from {points} of {warm_start}"
                + (f"; {n_outside} more lie outside the search spaces" if n_outside else "")
            )

        if spread_of is not None and not dry_run:
            raise UserError(f"--spread-of {spread_of}: needs --dry-run")
        if dry_run:
            if spread_of is not None:
                _report_resolution(loaded, spread_of)
            _report_remaining(loaded, location)
            return

        def show(sources: Sequence[RunSource]) -> AbstractContextManager[None]:
            _announce(loaded, sum(len(source.outcomes) for source in sources))
            for warning in study_warnings(loaded):
                console.print(warning)
            return progress_display(console, loaded, sources)

        summary = drive(
            loaded,
            location,
            executor=executor.value,
            address=address,
            time_budget=None if time_budget is None else timedelta(hours=time_budget),
            retry_failed=retry_failed,
            verbose=verbose,
            show=show,
            notice=console.print,
        )
    _report(summary, loaded, location)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn an interrupt into one line and exit code 130."""
    try:
        with graceful_signals():
            yield
    except KeyboardInterrupt:
        console.print("Stopped. The same command resumes the study.")
        raise typer.Exit(130) from None


def _report_remaining(study: Study, location: str) -> None:
    """Print the runs that a study has left, and their estimated time."""
    from ngm_tune.study.plan import StudyPlan
    from ngm_tune.workspace.remaining import is_complete, read_sources

    plan = StudyPlan.resolve(study)
    sources = read_sources(plan, location)
    if is_complete(sources):
        console.print(f"{study.name} is complete: no runs are left")
        return
    from ngm_tune.execution.estimate import estimate  # imports torch

    remaining = estimate(plan, location, sources)
    print_table(
        ("benchmark", "method", "phase", "runs of one seed", "seconds each", "core-hours"),
        (
            (r.benchmark, r.method, r.phase, r.seed_runs, f"{r.seconds:.2g}", f"{r.core_hours:.2g}")
            for r in remaining
        ),
    )
    seed_runs = sum(r.seed_runs for r in remaining)
    core_hours = sum(r.core_hours for r in remaining)
    console.print(
        f"At most {seed_runs} runs of one seed, about {core_hours:.2g} core-hours on this machine, "
        "estimated from a few iterations of each method."
    )


def _report_resolution(study: Study, earlier: str) -> None:
    """Print the smallest differences between methods that a study can resolve."""
    from ngm_tune.analysis.loading import load
    from ngm_tune.analysis.statistics.planning import resolutions

    rows = resolutions(load(earlier), study.searches, max(1, len(study.methods) - 1))
    print_table(
        ("benchmark", "quantity", "rival", "spread", "smallest difference"),
        (
            (r.benchmark, r.quantity, r.rival, f"{r.spread:.3f}", f"{r.difference:.3f}")
            for r in rows
        ),
    )
    console.print(
        f"The smallest true difference from each rival that 80 % of studies with "
        f"{study.searches} repetitions find, if differences spread as between the repetitions of "
        f"{earlier}."
    )


def _announce(study: Study, done: int) -> None:
    """Print the size of the study, and the number of runs that are already done."""
    trials, seeds = counted(study.trials, "trial"), counted(len(study.run_seeds), "seed")
    searches = "" if study.searches == 1 else f"{study.searches} searches of "
    already = f"; {counted(done, 'run')} already done" if done else ""
    console.print(
        f"{study.name}: {searches}{trials} of {seeds} for each of "
        f"{counted(len(study.methods), 'method')} on {', '.join(study.benchmarks)}{already}"
    )
    if (custom := study.resolved().custom) is not None and not isinstance(custom.tasks, int):
        tasks = "; ".join(", ".join(classes) for classes in custom.tasks)
        console.print(f"Tasks of custom: {tasks}", soft_wrap=True)


def _report(summary: StudySummary, study: Study, location: str) -> None:
    """Print how the study ended; exit with its code if that is not 0."""
    from ngm_tune.cli.progress import state_table

    if summary.already_complete:
        console.print(f"{study.name} is complete: all {summary.done} runs are in {location}")
    if summary.already_complete or not console.is_terminal:
        console.print(state_table(study, summary.methods))
    if not summary.complete:
        console.print(
            f"{'The time budget ended the study' if summary.timed_out else 'Stopped'} with "
            f"{summary.done} of {summary.total} runs done. The same command resumes it."
        )
        raise typer.Exit(0 if summary.timed_out else 130)
    if summary.failed:
        failed = "All" if summary.failed == summary.done else f"{summary.failed} of"
        console.print(
            f"{failed} {summary.done} runs failed; see {location}/failures. --retry-failed re-runs "
            "them."
        )
    if not summary.already_complete:
        output = " --output DIR" if "://" in location else ""
        console.print(
            f"Results are in {location}. `ngm-tune analyze {quote(location)}{output}` writes "
            "the report."
        )
    if summary.failed == summary.done:
        raise typer.Exit(1)
