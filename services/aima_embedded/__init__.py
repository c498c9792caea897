"""All ten services in one process, on the embedded plugs."""
