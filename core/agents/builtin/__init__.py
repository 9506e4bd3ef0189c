"""Our own agent: a model, a few tools, and one loop.

It speaks the ``command`` dialect like any other program.
"""
