"""What the owner and staff see: pages rendered on the server, kept live by one event stream a page."""
