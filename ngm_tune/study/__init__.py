"""Studies: the TOML file, its sections, and their validation."""
