"""The storm at a size for every change."""
