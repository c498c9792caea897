"""What is said about texts beside the texts: their language, and a vector of what they mean."""

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np

from aima_analysis.analyzers.analyzer import Analysis, Models
from aima_analysis.analyzers.rounding import unit
from aima_common.contracts.media import Finding, FindingVector, MissingCapability
from aima_models.errors import MissingModelError
from aima_models.store import ResolvedModel

EMBEDDING = "all-minilm-l6-v2"
LANGUAGES = "py3langid"
TEXT_SPACE = "texts"
"""The vector space of texts, and of searches for them."""
LANGUAGE = "language"
TEXT_EMBEDDING = "text_embedding"
LONGEST_TOKENS = 256
"""What the sentence model was trained with; longer texts are cut."""
FEWEST_LETTERS_FOR_LANGUAGE = 20
"""Below this the answer is noise: two words are valid in several languages."""
SURE = 0.8
"""Share of probability that the first language must have over all 97."""
FEWEST_LETTERS_FOR_VECTOR = 3

ENRICHMENTS = {LANGUAGE: LANGUAGES, TEXT_EMBEDDING: EMBEDDING}
"""Capability -> the model it needs."""


class _Classifier(Protocol):
    def classify(self, text: str) -> tuple[str, float]: ...


class _Encoding(Protocol):
    ids: list[int]
    attention_mask: list[int]


class _Tokenizer(Protocol):
    def encode(self, text: str) -> _Encoding: ...


def letters(text: str) -> int:
    """Count the letters of a text."""
    return sum(character.isalpha() for character in text)


def language(text: str, models: Models) -> str | None:
    """Give the language of a text (ISO 639-1), or None when it is too short or not clear.

    Raises MissingModelError.
    """
    if letters(text) < FEWEST_LETTERS_FOR_LANGUAGE:
        return None
    code, share = models.load(LANGUAGES, _load_classifier).classify(text)
    return str(code) if share >= SURE else None


def _load_classifier(model: ResolvedModel) -> _Classifier:
    from py3langid.langid import LanguageIdentifier

    return cast("_Classifier", LanguageIdentifier.from_modelpath(model.path, norm_probs=True))


def embed_text(text: str, models: Models) -> list[float]:
    """Give the vector of a text, of length one. Raises MissingModelError."""
    encoding = models.load(EMBEDDING, _load_tokenizer).encode(text)
    feed = {
        "input_ids": np.array([encoding.ids], np.int64),
        "attention_mask": np.array([encoding.attention_mask], np.int64),
    }
    return unit(np.asarray(models.session(EMBEDDING).run(None, feed)[0][0], np.float32))


def _load_tokenizer(model: ResolvedModel) -> _Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model.paths["tokenizer.json"]))
    tokenizer.enable_truncation(LONGEST_TOKENS)
    tokenizer.no_padding()
    return cast("_Tokenizer", tokenizer)


def enriched(findings: Sequence[Finding], models: Models) -> Analysis:
    """Add languages and vectors to findings in their final order; what cannot be added is named as missing.

    A label is words, too: whoever searches for "a cup of coffee" means the picture labelled "espresso".
    """
    said, missing = list(findings), []
    vectors: list[FindingVector] = []
    try:
        said = [_with_language(finding, models) for finding in findings]
    except MissingModelError as error:
        missing.append(MissingCapability(capability=LANGUAGE, reason=str(error)))
    try:
        vectors = [
            FindingVector(space=TEXT_SPACE, finding=ordinal, vector=embed_text(words, models))
            for ordinal, finding in enumerate(said)
            if letters(words := searchable_words(finding)) >= FEWEST_LETTERS_FOR_VECTOR
        ]
    except MissingModelError as error:
        missing.append(MissingCapability(capability=TEXT_EMBEDDING, reason=str(error)))
    return Analysis(findings=said, vectors=vectors, missing=missing)


def searchable_words(finding: Finding) -> str:
    """Give the words by which a finding is looked for: what was said or written, or what a thing is called."""
    named = finding.label if finding.kind == "label" else None
    return finding.text or named or ""


def _with_language(finding: Finding, models: Models) -> Finding:
    if not finding.text or finding.language is not None:
        return finding
    return finding.model_copy(update={"language": language(finding.text, models)})
