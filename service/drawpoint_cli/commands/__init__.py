"""One module a command, each with `add_parser(subparsers)` and `run(args) -> int`.

A command is imported only when it is called, so each may import what it needs. A package that is not installed becomes
a sentence that names the extra that brings it.
"""
