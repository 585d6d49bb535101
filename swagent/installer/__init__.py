"""One update, first byte to commit: plan, gates, session, boot environment."""
