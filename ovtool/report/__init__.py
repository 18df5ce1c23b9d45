"""From sweep folders to a table, charts, a page and a recommendation.

- ``table.load``: sweeps -> one pandas table; ``speedup`` derives the ratios; ``rows`` are its
  rows, one by one or as an array a column
- ``summary``: the table of variants; ``choice.choose``: which row to run, under ``limits``
- ``charts`` (in the colours of ``theme``, drawn by the processes of ``pictures``), ``page``,
  ``markdown``: how it is shown
- ``write.write``: all of it as files
"""
