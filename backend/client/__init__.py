"""The command line's side of the wire: sockets around `protocol.conversation`."""
