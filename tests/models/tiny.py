"""A stand-in for the Hugging Face Hub: a tiny wav2vec 2.0 with random weights, in a folder. No test asks it."""

import torch

LAYERS, WIDTH = 4, 16  # three transformer layers and their input


def write_tiny(folder, seed=0):
    """Write it as `save_pretrained` does: config.json, preprocessor_config.json, model.safetensors."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    convolutions = {"conv_dim": (8, 8), "conv_stride": (5, 64), "conv_kernel": (10, 64), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    torch.manual_seed(seed)
    Wav2Vec2Model(Wav2Vec2Config(**sizes, **convolutions, **positions)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder
