"""What the boundary's modules share, below Python."""
