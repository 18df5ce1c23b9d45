"""Reports of sweeps: the page, tables, Markdown and charts.

- ``content``: the parts of a report, before layout
- ``page`` and ``markdown``: their layout
- ``write``: a report as files
- ``summary``: the table of variants, also for the terminal
- ``watch``: when to write a report of a running sweep again
"""
