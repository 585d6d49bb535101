"""What a vehicle does: fetch metadata, verify it, keep what passed."""
