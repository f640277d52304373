"""Reelworks' endpoint: the OpenAI Videos API on Ray Serve, with jobs that live in the bucket."""
