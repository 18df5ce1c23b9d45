"""A language model with the settings that were measured: see README.md beside this package."""

from .model import Model

__all__ = ["Model"]
