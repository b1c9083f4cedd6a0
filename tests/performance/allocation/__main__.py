"""Run the comparisons, write their results, and print the tables of docs/allocation.md."""

from __future__ import annotations

from .options import compare_options
from .report import Results, tables_of
from .splits import BUDGETS, TYPICAL, Split, compare_confirmations, compare_splits, evaluate
from .table import SETTINGS, load


def main() -> None:
    """Run the comparisons."""
    tables = {name: load(name) for name in SETTINGS}
    splits = {}
    for budget in BUDGETS:
        splits[budget] = compare_splits(tables, budget)
        print(f"{len(splits[budget])} splits of {budget} seed-runs compared", flush=True)
    typical = [evaluate(Split(*split), tables, seed=1) for split in TYPICAL]
    Results(
        splits,
        typical,
        compare_confirmations(tables),
        compare_options(tables),
    ).write()
    print("\n".join(tables_of(Results.read())))


if __name__ == "__main__":
    main()
