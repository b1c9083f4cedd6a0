"""Run a study: the driver, Ray Tune or a loop in one process, and what happens in a worker."""
