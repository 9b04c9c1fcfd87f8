"""feeds: take in the outside world, stamp it, publish it, keep a raw copy."""
