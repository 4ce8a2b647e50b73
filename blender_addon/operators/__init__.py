# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons. Each returns at once; what takes time is a job, never a modal operator."""
