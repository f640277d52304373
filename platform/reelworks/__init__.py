"""Reelworks: a bucket of raw video in, a served text-to-video model out, on Ray."""
