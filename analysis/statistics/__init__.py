"""Numbers of a report: chosen configurations, comparisons, tuning effort and optimism."""
