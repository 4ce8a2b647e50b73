"""The command line's commands, one file each. A file has `add(commands)` and runs its work in a function it names."""
