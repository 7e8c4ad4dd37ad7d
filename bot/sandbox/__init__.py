"""Provider simulators on one loopback port: they speak the providers' own wire, and keep a log of what they did."""
