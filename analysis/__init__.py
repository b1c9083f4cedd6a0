"""Parquet in, report out. Runs where neither torch nor Ray is installed."""

from .choice import Choice, write_defaults
from .report import Report, write_report

__all__ = ["Choice", "Report", "write_defaults", "write_report"]
