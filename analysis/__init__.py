"""Parquet in, report out. Runs where neither torch nor Ray is installed."""

from .report.page import Report, write_report
from .statistics.choice import Choice, write_defaults

__all__ = ["Choice", "Report", "write_defaults", "write_report"]
