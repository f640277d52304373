"""The mathematics of diffusion, without a network."""
