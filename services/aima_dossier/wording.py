"""How a dossier writes things down for people: names nobody can fake, times, sizes and numbers."""

import unicodedata
from itertools import groupby

from markupsafe import Markup, escape

CONTROL_NAMES = {"\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\t": "TAB", "\0": "NULL", "\x1b": "ESCAPE"}
"""Names of the control characters that are met in file names; Unicode itself gives them none."""

JOINERS = ("\u200c", "\u200d")
"""Zero-width (non-)joiners: invisible, but Persian and emoji are misspelt without them."""

HIDDEN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")
"""Unicode categories of what does not show itself: control, format, line ends, surrogates, private, unassigned."""


def is_hidden(letter: str) -> bool:
    """Whether a reader could not see this character, though it may change what is around it."""
    return unicodedata.category(letter) in HIDDEN_CATEGORIES and letter not in JOINERS


def name_of_hidden(letter: str) -> str:
    """Name an invisible character, such as "U+202E RIGHT-TO-LEFT OVERRIDE"."""
    return f"U+{ord(letter):04X} {unicodedata.name(letter, CONTROL_NAMES.get(letter, ''))}".strip()


def visible(text: str | None) -> Markup:
    """Write foreign text into HTML: inert, isolated in its direction, and with every hidden character shown."""
    parts = []
    for hidden, letters in groupby(text or "", key=is_hidden):
        if hidden:
            parts += [_shown(letter) for letter in letters]
        else:
            parts.append(escape("".join(letters)))
    return Markup("<bdi>%s</bdi>") % Markup("").join(parts)


def plain(text: str | None) -> str:
    """Write foreign text where no markup can be, such as a tooltip: hidden characters become ⟨U+202E⟩."""
    return "".join(f"⟨U+{ord(letter):04X}⟩" if is_hidden(letter) else letter for letter in text or "")


def _shown(letter: str) -> Markup:
    return Markup('<span class="hidden-character" title="{}">U+{}</span>').format(
        name_of_hidden(letter), f"{ord(letter):04X}"
    )


def clock(seconds: float, decimals: int = 0) -> str:
    """Write a moment as 0:07, 12:07 or 1:02:07, with as many decimals as asked for; cut, not rounded up."""
    scale = 10**decimals
    ticks = int(seconds * scale + 1e-6)
    whole, fraction = divmod(ticks, scale)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{fraction:0{decimals}}" if decimals else text


def stretch(start: float, end: float, decimals: int = 1) -> str:
    """Write a stretch of time; a moment is written once."""
    begin, finish = clock(start, decimals), clock(end, decimals)
    return begin if begin == finish else f"{begin}–{finish}"


def length(seconds: float) -> str:
    """Write how long something lasts: 0.4 s, 48 s, 3 min 5 s, 2 h 4 min."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{number(hours)} h {minutes} min" if minutes else f"{number(hours)} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"


def size(size_bytes: int) -> str:
    """Write a size in the unit people know: 0 bytes, 812 bytes, 3.2 MB."""
    if size_bytes < 1000:
        return counted(size_bytes, "byte")
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:  # more would be written as 1000
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


def number(value: int) -> str:
    """Write a number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number of things: 1 face, 3 faces."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def percent(fraction: float) -> str:
    """Write a confidence or similarity; only what is certain is 100 %."""
    whole = round(fraction * 100)
    if whole >= 100 > fraction * 100:
        return "> 99 %"
    return f"{whole} %"


def listed(things: list[str]) -> str:
    """Write a list as people do: a, b and c."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}" if things else ""


def short_hash(sha256: str) -> str:
    """Write the beginning of a hash, enough to compare by eye."""
    return sha256[:12]


SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def spelled(count: int, one: str, many: str = "") -> str:
    """Write a number of things inside a sentence: one film, four stills, 31 stills."""
    words = counted(count, one, many)
    return words.replace(number(count), SMALL_NUMBERS[count], 1) if count < len(SMALL_NUMBERS) else words


LANGUAGES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "la": "Latin",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nb": "Norwegian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovene",
    "sr": "Serbian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def language_name(code: str) -> str:
    """Write a language as its English name; a code that is not listed stays as it is (ISO 639-1)."""
    return LANGUAGES.get(code, code)
