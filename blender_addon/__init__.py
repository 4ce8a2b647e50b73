# SPDX-License-Identifier: GPL-3.0-or-later
"""Dreamlift: type what you want, watch it grow in the viewport. Registers and unregisters, nothing else."""


def register():
    """Called by Blender when the extension is enabled."""
    from . import registration

    registration.register()


def unregister():
    """Called by Blender when the extension is disabled; leaves nothing behind."""
    from . import registration

    registration.unregister()
