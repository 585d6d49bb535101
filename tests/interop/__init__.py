"""The public reference implementation of Uptane as a peer: live where it is checked out, else from transcripts."""
