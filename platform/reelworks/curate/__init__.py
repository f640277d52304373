"""Raw video in a bucket to a committed snapshot of captioned, encoded clips."""
