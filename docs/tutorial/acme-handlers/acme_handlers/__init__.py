"""Handlers for Acme's boards."""
