"""The names of ImageNet's thousand classes, in the order of a classifier's outputs."""

from collections.abc import Mapping

CLASSES = 1000


def convert(members: Mapping[str, bytes]) -> bytes:
    """Make a text file with one line a class: WordNet id, tab, names separated by commas."""
    lines = {path.rsplit("/", 1)[-1]: content.decode().splitlines() for path, content in members.items()}
    lemmas = dict(line.split("\t", 1) for line in lines["imagenet_synset_to_lemma.txt"] if line)
    synsets = [line.strip() for line in lines["imagenet_synsets.txt"] if line.strip()]
    if len(synsets) != CLASSES:
        raise ValueError(f"{len(synsets)} classes instead of {CLASSES}")
    return "".join(f"{synset}\t{lemmas[synset]}\n" for synset in synsets).encode()
