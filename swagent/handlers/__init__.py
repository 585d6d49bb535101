"""The handlers: code that installs one type of artifact each."""
