"""What torch, torchvision and torchmetrics can declare in plain JSON: their signatures, and the overlay of what signatures do not say."""
