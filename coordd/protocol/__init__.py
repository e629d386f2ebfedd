"""Speak the control socket's protocol, on both ends: JSON-RPC, socket paths, the client, the snapshot."""
