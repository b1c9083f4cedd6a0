"""Analysis of results directories: the report and default hyper-parameters."""

from .defaults import Defaults, write_defaults
from .report.page import Report, write_report
from .statistics.choice import Choice

__all__ = ["Choice", "Defaults", "Report", "write_defaults", "write_report"]
