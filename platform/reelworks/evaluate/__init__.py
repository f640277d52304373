"""Measures the trained models: reconstruction, captions, expansion, text fidelity; and writes the report."""
