"""One plan over many hosts: labels, certificates, workers, transfers, and the sweep of a fleet."""
