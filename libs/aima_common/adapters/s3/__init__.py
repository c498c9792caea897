"""The parts of the plug for S3: requests, writes, links, scratch files."""
