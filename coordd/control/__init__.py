"""Answer the control socket: server, connections, methods, subscriptions, history queries."""
