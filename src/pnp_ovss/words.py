"""Numbers beside nouns, the one place that knows plurals."""


def counted(number: int, noun: str) -> str:
    """A number and its noun, which stands in the singular.

    >>> counted(1, "photo"), counted(0, "class"), counted(2, "copy")
    ('1 photo', '0 classes', '2 copies')
    """
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
