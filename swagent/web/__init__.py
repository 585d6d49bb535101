"""The device's web server: SWUpdate's REST and WebSocket as they are, and a page of our own."""
