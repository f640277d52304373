"""The networks: values in, values out, on any device."""
