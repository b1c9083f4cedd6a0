"""What is missing where ngm-tune is installed without its tests: Ray then starts no dashboard."""

raise ModuleNotFoundError("as without ray[default]", name="opencensus")
