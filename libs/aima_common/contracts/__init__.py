"""The words services say to each other: messages in the order of the path, and the shapes in them."""
