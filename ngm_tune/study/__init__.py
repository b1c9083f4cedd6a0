"""A study: the TOML file, its sections, and the checks on them."""
