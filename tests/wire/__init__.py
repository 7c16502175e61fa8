"""Local servers that speak the providers' wire protocols, and misbehave when told to."""
