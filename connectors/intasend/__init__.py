"""IntaSend: M-Pesa, cards and payouts."""
