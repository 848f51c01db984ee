"""The connections to the venue: bytes in, requests out, and what is subscribed on each."""
