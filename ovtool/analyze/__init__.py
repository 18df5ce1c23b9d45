"""What a model asks of a device: its operations counted, layer by layer."""
