# SPDX-License-Identifier: GPL-3.0-or-later
"""A job and the queue as the artist sees it. No bpy, no sockets."""
