"""Parquet in, report out. Runs where neither torch nor Ray is installed."""

from .choice import Choice, write_defaults
from .report import write_report

__all__ = ["Choice", "write_defaults", "write_report"]
