# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets, and which server to talk to. What is said is `protocol.conversation`'s business. No bpy."""
