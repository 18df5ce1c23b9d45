"""What a model asks of a device, and what a device can give: counts, peaks, predictions."""
