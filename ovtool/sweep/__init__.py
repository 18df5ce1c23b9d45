"""Many trials: a plan of what to measure, a journal of what was, and resuming between them."""
