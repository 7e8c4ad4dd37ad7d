"""Channel adapters: each turns a provider's messages into InboundMessage, and OutboundMessage into provider calls."""
