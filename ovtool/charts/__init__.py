"""Charts as Vega-Lite specifications, and their rendering as SVG and PNG."""
