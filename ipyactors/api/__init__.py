"""What a user calls; it talks to an engine and never to a role."""
