"""The side of a call that made it: references, retries, leases, outboxes; in a driver and in every worker."""
