"""One module a command, each with `add_parser(subparsers)` and `run(args) -> int`.

A command is imported only when it is called, so each may import what it needs; what is not installed becomes
a sentence that says which extra brings it.
"""
