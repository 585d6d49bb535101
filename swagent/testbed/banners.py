"""What a party shows in large letters when a cycle ends, by the names that the reference's demonstration uses."""

from enum import StrEnum


class Banner(StrEnum):
    """A word."""

    UPDATED = "UPDATED"
    NO_UPDATE = "NO_UPDATE"
    NO_UPDATE_NEEDED = "NO_UPDATE_NEEDED"
    DEFENDED = "DEFENDED"
    REPLAY = "REPLAY"
    FROZEN = "FROZEN"
    COMPROMISED = "COMPROMISED"


COLOURS = {
    Banner.UPDATED: "32", Banner.NO_UPDATE: "36", Banner.NO_UPDATE_NEEDED: "36", Banner.DEFENDED: "33",
    Banner.REPLAY: "33", Banner.FROZEN: "33", Banner.COMPROMISED: "31",
}  # fmt: skip
_LETTERS = {
    "A": " ### |#   #|#####|#   #|#   #", "C": " ####|#    |#    |#    | ####", "D": "#### |#   #|#   #|#   #|#### ",
    "E": "#####|#    |#### |#    |#####", "F": "#####|#    |#### |#    |#    ", "I": "###| # | # | # |###",
    "L": "#    |#    |#    |#    |#####", "M": "#   #|## ##|# # #|#   #|#   #", "N": "#   #|##  #|# # #|#  ##|#   #",
    "O": " ### |#   #|#   #|#   #| ### ", "P": "#### |#   #|#### |#    |#    ", "R": "#### |#   #|#### |#  # |#   #",
    "S": " ####|#    | ### |    #|#### ", "T": "#####|  #  |  #  |  #  |  #  ", "U": "#   #|#   #|#   #|#   #| ### ",
    "Y": "#   #| # # |  #  |  #  |  #  ", "Z": "#####|   # |  #  | #   |#####", "_": "  |  |  |  |  ",
}  # fmt: skip


def large(banner: Banner, *, colour: bool) -> str:
    """The word in letters of five lines."""
    rows = ["  ".join(_LETTERS[letter].split("|")[row] for letter in banner) for row in range(5)]
    text = "\n".join(row.rstrip() for row in rows)
    return f"\x1b[{COLOURS[banner]}m{text}\x1b[0m" if colour else text
