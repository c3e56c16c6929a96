"""Did you mean: the right name nearest to a wrong one.

For keys, options, groups and verbs alike. Nearness is the number of single-letter slips (a letter dropped, inserted, replaced, or two
neighbours swapped: Damerau 1964, in its restricted form), and after that abbreviations as people write them (``bs``, ``optim``).
"""

from collections.abc import Iterable

_BEGINNING = 5  # letters that are a beginning and no chance


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``word`` most likely stands for, or None where none is near."""
    candidates = list(dict.fromkeys(candidates))
    if len(word) >= _BEGINNING and (begun := [name for name in candidates if name.startswith(word)]):
        return min(begun, key=len)  # resnext50 is the beginning of resnext50_32x4d rather than a slip in resnet50
    slip = _nearest_slip(word, candidates)
    return slip[1] if slip else _abbreviated(word, candidates)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The words that end an error message, ``" (did you mean 'lr'?)"``, or nothing where no candidate is near."""
    return ask(name) if (name := nearest(word, candidates)) else ""


def ask(*names: str) -> str:
    """The question itself, about names that are already chosen."""
    return f" (did you mean {' or '.join(repr(name) for name in names)}?)"


def key_meant(key: str, here: Iterable[str], paths: Iterable[str]) -> list[str]:
    """What an unknown ``key`` of a node may have been: a key of the same node, or the path of one that lives elsewhere in the tree.

    ``here`` are the node's right keys, ``paths`` the dotted paths of all keys of the tree: ``lr`` at the top is ``optimizer.lr``.
    A slip of one letter wins over a key elsewhere, and that wins over anything less alike. At most three names, the best first.
    """
    here, paths = list(here), list(paths)
    slip = _nearest_slip(key, here)
    if slip and slip[0] <= 1:
        return [slip[1]]
    last = key.rpartition(".")[2]
    same = sorted((path for path in paths if path.rpartition(".")[2] == last), key=lambda path: (path.count("."), path))
    if same:
        return same[:3]
    if local := nearest(key, here):
        return [local]
    slip = _nearest_slip(last, {path.rpartition(".")[2] for path in paths})
    if not slip:
        return []
    return sorted((path for path in paths if path.rpartition(".")[2] == slip[1]), key=lambda path: (path.count("."), path))[:3]


def slips(a: str, b: str) -> int:
    """How many letters must be dropped, inserted, replaced or swapped with their neighbour to turn ``a`` into ``b``."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, above, row = row, before, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _nearest_slip(word: str, candidates: Iterable[str]) -> tuple[int, str] | None:
    """The candidate with the fewest slips, with their number, if they are few for the length of the words."""
    plain = _plain(word)
    best: tuple[tuple[int, int, int, int, int], str] | None = None
    for name in candidates:
        other = _plain(name)
        allowed = max(1, max(len(plain), len(other)) // 3)
        if (
            abs(len(plain) - len(other)) > allowed
            or (count := slips(plain, other)) > allowed
            or (count >= len(other) and _single(plain) != other)
        ):
            continue
        # Among equals: the same letters (a swap), then the same once doubled letters are single, then more letters of the right
        # name still there, then the same beginning: what fingers do rather than what another word is.
        rank = (
            count,
            sorted(plain) != sorted(other),
            _single(plain) != _single(other),
            -sum(x == y for x, y in zip(plain, other, strict=False)),
            plain[:1] != other[:1],
        )
        if best is None or rank < best[0]:
            best = rank, name
    return (best[0][0], best[1]) if best else None


def _abbreviated(word: str, candidates: list[str]) -> str | None:
    """The one candidate that ``word`` shortens, or that shortens it: by beginning (optim), by initials (bs) or by a whole word."""
    plain = _plain(word)
    if len(plain) < 2:
        return None
    for rule in (_begins, _initials, _shares_word, _skips):
        found = [name for name in candidates if rule(plain, _plain(name)) or rule(_plain(name), plain)]
        if found:
            return min(found, key=lambda name: abs(len(name) - len(plain)))
    return None


def _begins(short: str, long: str) -> bool:
    return len(short) >= 3 and long.startswith(short)


def _initials(short: str, long: str) -> bool:
    return "_" in long and short == "".join(part[:1] for part in long.split("_"))


def _shares_word(short: str, long: str) -> bool:
    return len(short) >= 3 and "_" in long and short in long.split("_")


def _skips(short: str, long: str) -> bool:
    """Only letters left out after the first, and not too many of them: ``wghts``, ``ckpt``."""
    letters = iter(long)
    enough = len(short) >= 3 and len(short) * (2 if len(short) == 3 else 3) >= len(long)
    return enough and short[0] == long[:1] and all(letter in letters for letter in short)


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").strip("_+~ ")


def _single(word: str) -> str:
    """The word without the second of two equal letters."""
    return "".join(letter for i, letter in enumerate(word) if i == 0 or word[i - 1] != letter)
