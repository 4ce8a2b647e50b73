"""Dreamlift's backend: prompts, pictures and photos to finished 3D assets. Knows its version; see docs/architecture.md."""

__version__ = "0.1.0"
