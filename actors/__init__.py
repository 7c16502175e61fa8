"""Ray actors, thin shells: the agent, the directory, the coordinator, the store, the reader, the gateway."""
