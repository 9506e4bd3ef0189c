"""The embedded Postgres: one server per installation, started when it is needed, outliving whoever started it.

This room alone knows where the cluster lies, whom the server runs as and how it is found. It listens on a Unix socket
only, in a folder that nobody else may enter, and believes the operating system about who connects.
"""

from storage.server.server import (
    ServerInfo,
    ensure_server,
    remove_server,
    server_dsn,
    server_status,
    socket_dir,
    stop_server,
)

__all__ = [
    "ServerInfo",
    "ensure_server",
    "remove_server",
    "server_dsn",
    "server_status",
    "socket_dir",
    "stop_server",
]
