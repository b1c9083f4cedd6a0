"""Metrics of continual evaluation, and comparison by several objectives, on NumPy arrays."""
