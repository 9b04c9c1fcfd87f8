"""Shared libraries: domain concepts, infrastructure and the exchange client."""
