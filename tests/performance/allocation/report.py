"""Results of the comparisons on disk, and as the tables of docs/allocation.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .options import Row
from .splits import SEARCHES, SHIFTS, Figures, Optimism, Split
from .table import SETTINGS

RESULTS = Path(__file__).parent / "results.json"


class Results(NamedTuple):
    """Results of all comparisons.

    Attributes:
        splits: Splits of each budget, the best resolution first.
        typical: Splits of interest.
        confirmations: The same searches, confirmed with different numbers of seeds.
        options: Options of a search at equal compute.
    """

    splits: Mapping[int, list[Figures]]
    typical: list[Figures]
    confirmations: list[Optimism]
    options: list[Row]

    def write(self, path: Path = RESULTS) -> None:
        """Write the results as JSON, with a split or an option per line."""
        parts = {
            **{str(budget): figures for budget, figures in self.splits.items()},
            "typical": self.typical,
            "confirmations": self.confirmations,
            "options": self.options,
        }
        texts = []
        for name, rows in parts.items():
            lines = ",\n".join(json.dumps(_rounded(row)) for row in rows)
            texts.append(f"{json.dumps(name)}: [\n{lines}\n]")
        path.write_text("{\n" + ",\n".join(texts) + "\n}\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path = RESULTS) -> Results:
        """Read the results."""
        parts = json.loads(path.read_text(encoding="utf-8"))
        options = [Row(*row) for row in parts.pop("options")]
        confirmations = [Optimism(*row) for row in parts.pop("confirmations")]
        figures = {
            name: [Figures(Split(*split), *rest) for split, *rest in rows]
            for name, rows in parts.items()
        }
        typical = figures.pop("typical")
        splits = {int(budget): of_budget for budget, of_budget in figures.items()}
        return cls(splits, typical, confirmations, options)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return [*map(_rounded, value)] if isinstance(value, tuple | list) else value


def tables_of(results: Results) -> list[str]:
    """Return the tables of docs/allocation.md."""
    return [
        splits_table(results.splits),
        extremes_table(results.splits),
        choices_table(results.splits),
        typical_table(results.typical),
        confirmations_table(results.confirmations),
        options_table(results.options),
    ]


def splits_table(splits: Mapping[int, Sequence[Figures]]) -> str:
    """Return the split with the best resolution for each budget and number of repetitions."""
    rows = []
    for figures in splits.values():
        for searches in SEARCHES:
            of_searches = [f for f in figures if f.split.searches == searches]
            rows += [_figures_row(f, is_best=f is figures[0]) for f in of_searches[:1]]
    return _table(FIGURES, rows)


def extremes_table(splits: Mapping[int, Sequence[Figures]]) -> str:
    """Return the splits with the narrowest interval and the best front of each budget."""
    rows = []
    for figures in splits.values():
        narrowest = min(figures, key=lambda f: f.half_width)
        best = max(figures, key=lambda f: sum(f.volume))
        rows += [["interval", *_figures_row(narrowest)], ["front", *_figures_row(best)]]
    return _table(["best", *FIGURES], rows)


def typical_table(typical: Sequence[Figures]) -> str:
    """Return the splits of interest."""
    return _table(FIGURES, [_figures_row(figures) for figures in typical])


FIGURES = (
    "runs", "searches", "trials", "seeds", "confirmed", "fresh seeds", "used", "half width",
    "finds", *(f"finds {shift:g}" for shift in SHIFTS), "resolves", "false", "hypervolume",
)  # fmt: skip
"""Columns of the tables of splits."""


def _figures_row(figures: Figures, *, is_best: bool = False) -> list[str]:
    searches, *others = map(str, figures.split)
    return [
        f"{figures.split.runs}",
        f"**{searches}**" if is_best else searches,
        *others,
        f"{figures.used:.0f}",
        f"{figures.half_width:.3f}",
        *(f"{power:.0%}" for power in (figures.power, *figures.powers)),
        f"{figures.resolved:.3f}",
        f"{figures.false:.1%}",
        " / ".join(f"{volume:.3f}" for volume in figures.volume),
    ]


CHOICES: dict[str, Callable[[Split], int]] = {
    "seeds per trial": lambda split: split.seeds,
    "confirmed configurations": lambda split: split.configurations,
    "fresh seeds": lambda split: split.confirm_seeds,
}


def choices_table(splits: Mapping[int, Sequence[Figures]]) -> str:
    """Return the best resolution that each single choice allows."""
    rows = []
    for name, choice in CHOICES.items():
        values = sorted({choice(f.split) for figures in splits.values() for f in figures})
        for value in values:
            best = (
                next((f for f in figures if choice(f.split) == value), None)
                for figures in splits.values()
            )
            rows.append(
                [name, f"{value}", *("–" if f is None else f"{f.resolved:.3f}" for f in best)]
            )
    return _table(["choice", "value", *(f"{budget} runs" for budget in splits)], rows)


def confirmations_table(confirmations: Sequence[Optimism]) -> str:
    """Return the confirmed hypervolume by the number of fresh seeds."""
    rows = [
        [
            f"{row.configurations}",
            f"{row.confirm_seeds}",
            *(f"{volume:.3f}" for volume in row.volume),
            f"{row.volume[0] - row.volume[1]:.3f}",
        ]
        for row in confirmations
    ]
    return _table(["confirmed", "fresh seeds", *SETTINGS, "difference"], rows)


def options_table(options: Sequence[Row]) -> str:
    """Return the options of a search at equal compute."""
    header = ["runs of a search", "option", "trials", "hypervolume", "gain", "over", "resolves"]
    return _table(header, [[f"{row.runs:.0f}", row.option, *_results_of(row)] for row in options])


def _results_of(row: Row) -> list[str]:
    return [
        f"{row.trials:.1f}",
        " / ".join(f"{volume:.3f}" for volume in row.volume),
        f"{row.gain:+.4f} ± {row.error:.4f}" if row.baseline else "",
        row.baseline,
        f"{row.resolved:.3f}",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
