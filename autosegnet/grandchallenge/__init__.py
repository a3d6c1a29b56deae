"""The platform grand-challenge.org: its sockets, its server, its time limit."""
