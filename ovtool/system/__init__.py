"""What the machine tells: processors, control groups, counters, energy."""
