"""Datasets: samples for calibration, training and evaluation."""
