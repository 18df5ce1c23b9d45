"""Models that Python packages carry, or that are made here."""
