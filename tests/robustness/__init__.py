"""Attacks on the whole command: failing system calls, kills, loss of power, hostile files."""
