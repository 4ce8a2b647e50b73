"""The wire between the Blender extension, the command line and the service. See docs/protocol.md.

Knows messages, their bytes and the client's side of the conversation. Knows no sockets, no bpy and no torch: pure
Python, msgpack and numpy, relative imports only: `build_addon.py` copies this folder into the extension unchanged.
"""
