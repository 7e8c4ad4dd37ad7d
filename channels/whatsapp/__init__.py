"""WhatsApp, by whichever provider the deployment has an account with."""
