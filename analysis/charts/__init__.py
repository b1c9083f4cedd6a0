"""Charts of a report, drawn from statistics with Vega-Lite."""
