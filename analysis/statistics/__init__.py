"""Statistics of a report, as data classes and tables."""
