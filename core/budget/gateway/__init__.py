"""The gateway: every call of any agent to a model passes here, is reserved before it and settled after it.

A process of its own, one per host and state folder (``python -P -m core.budget.gateway``, started by the engine). Not
a part of the engine, because agents outlive the engine: while it is killed, upgraded and comes back, they go on calling
their models, and what they spend must go on being metered. For the same reason it comes back on the same port when
it is killed itself. Apart, each has a core of its own too: a hundred streams do not slow down the shipping of events,
and the keys of the providers are in the memory of a process that does nothing else.

It speaks HTTP through ``aiohttp`` on both sides. ``bench/bench_gateway.py`` measures it.

What it alone may do: hold providers' keys, write charges, open and close circuits. It trusts nobody: a call without the
token of a live run is refused, what a request may cost is bounded from the very bytes that are sent on, and nothing
that passes is written down unless the setting ``gateway.log`` asks for it.
"""
