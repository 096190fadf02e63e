"""Access to providers: a pool of channels and one of senders, with circuit breakers and rate limits around them."""
