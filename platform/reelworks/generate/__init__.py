"""The one way from a request to a video, used by training, evaluation, the batch job and the endpoint."""
