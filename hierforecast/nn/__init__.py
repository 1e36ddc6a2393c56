"""The network: attention -> SA3 -> encoder, with tokens before it and decoder and head after."""
