"""Dreamlift's backend: prompts, pictures and photos to finished 3D assets. The rooms are in docs/architecture.md."""

__version__ = "0.1.0"
