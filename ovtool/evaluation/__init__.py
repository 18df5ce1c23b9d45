"""Quality of outputs: against labels, against the uncompressed model, and across devices."""
