"""What both ends of the control socket share: JSON-RPC, socket paths, the client, the snapshot."""
