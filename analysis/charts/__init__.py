"""Charts of a report, in Vega-Lite."""
