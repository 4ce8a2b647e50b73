# SPDX-License-Identifier: GPL-3.0-or-later
"""The only room of the extension that touches `bpy.data`."""
