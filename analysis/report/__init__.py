"""The report page, its sections and its tables."""
