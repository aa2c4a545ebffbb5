"""What may be said between processes, and how it travels. Knows no role."""
