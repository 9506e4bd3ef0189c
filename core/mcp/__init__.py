"""The crew's tools over MCP (Model Context Protocol): for agents of runs, and for programs of a person's own.

Which tools there are says the table of commands. The protocol is small where only tools are served, and spoken here by
hand: the official SDK costs 0.3 s and 30 MB in the engine that hosts it, for transports and features of which none
is needed. The tests speak to it with that SDK's client.
"""
