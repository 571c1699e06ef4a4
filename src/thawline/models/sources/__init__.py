"""Where the weights of source models come from: packages, torchvision, timm and files."""
