"""The process that runs tasks, or hosts exactly one actor."""
