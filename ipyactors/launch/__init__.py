"""Starts processes by argv and keeps a session's folders in order. Imports no role."""
