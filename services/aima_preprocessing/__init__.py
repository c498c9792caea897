"""Makes media analysable: type by content, derivatives by segments, decoded in a sandbox."""
