"""The log of a durable actor and what is made of it: records, segments, manifests, recovery. Pure but for files."""
