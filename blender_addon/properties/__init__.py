# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender properties: what the artist sets (with the scene) and what a window shows (not saved)."""
