"""One adapter per kind of agent: how its program starts, what it is told, what its stream means in our
events.
"""
