"""The network: waveform to spectrograms (front end), to features (extractor), to logits (classifier)."""
