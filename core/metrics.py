"""What Prometheus can ask of a process at /metrics. Labels are channels, actions and states, never people."""

from prometheus_client import Counter, Gauge, Histogram

INBOUND = Counter("mathia_inbound_messages", "Inbound messages stored", ["channel", "new"])
TURNS = Counter("mathia_turns", "Turns closed", ["outcome"])
TURN_SECONDS = Histogram(
    "mathia_turn_seconds",
    "From claim to close of a turn",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SENDS = Counter("mathia_sends", "Sends to channels by outcome", ["channel", "outcome"])
OPEN_TURNS = Gauge("mathia_open_turns", "Turns being answered in this process")
SENDING = Gauge("mathia_sending", "Messages being sent in this process", ["channel"])
