"""What a Primary serves its Secondaries: XML-RPC as the reference implementation does, and resources over TLS."""
