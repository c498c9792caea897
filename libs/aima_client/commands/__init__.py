"""The commands of `aima`, one file each; every file imports what it needs when it runs."""
