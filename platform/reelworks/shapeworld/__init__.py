"""Procedural videos with known truth, their captions, and a judge that reads attributes back from pixels."""
