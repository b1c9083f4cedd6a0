"""Metrics of continual evaluation and multi-objective comparison, on NumPy arrays alone."""
