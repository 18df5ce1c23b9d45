"""Devices: discovery, diagnosis of missing devices, and the requirements of each kind of device."""
