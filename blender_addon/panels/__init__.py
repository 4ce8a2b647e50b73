# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab. Panels draw the snapshot and compute nothing."""
