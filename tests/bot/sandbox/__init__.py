"""Tests of the provider simulators, over real sockets and with the providers' own clients as referees."""
