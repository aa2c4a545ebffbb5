"""The agent: starts and watches everything that runs on one machine."""
