"""What a practitioner would pick instead of LiMAML, scored as served."""
