"""Reports of sweeps: the page, tables, Markdown and charts."""
