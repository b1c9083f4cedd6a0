"""Training on a sequence of tasks with continual evaluation."""
