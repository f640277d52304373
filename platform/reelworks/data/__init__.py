"""From a snapshot to packs of tokens."""
