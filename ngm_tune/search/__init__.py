"""The fair search: one Optuna search per benchmark and method, without Ray and torch."""
