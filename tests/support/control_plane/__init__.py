"""What a real control plane is made of: `programs` (the three binaries), `rest` (a client for setting the scene)."""
