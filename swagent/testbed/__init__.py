"""A fleet on one desk: the five parties of Uptane on this host, honest rounds and attacks, to see what happens."""
