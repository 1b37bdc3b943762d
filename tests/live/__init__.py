"""kdns beside a real control plane."""
