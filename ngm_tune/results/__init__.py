"""The format of results on disk: schemas, identifiers, reading and writing.

Importing this package loads neither torch nor Ray nor Optuna.
"""
