"""Fair searches: one Optuna search per benchmark and method, without Ray or torch."""
