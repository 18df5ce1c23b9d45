"""From sweep folders to a table, charts, a page and a recommendation.

- ``table.load``: sweeps -> one pandas table; ``speedup`` derives the ratios
- ``summary``: the table of variants; ``choice.choose``: which row to run, under ``limits``
- ``charts`` (drawn in the colours of ``theme``), ``page``, ``markdown``: how it is shown
- ``write.write``: all of it as files
"""
