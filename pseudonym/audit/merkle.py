"""The Merkle tree of RFC 6962 (RFC 9162, section 2.1), with SHA-256: roots, proofs and their checks.

The rules this module keeps:

- A leaf's hash begins with 00 and an inner node's with 01, so that neither can pass for the other.
- A tree is kept as the hashes of its complete subtrees, which never change once they are there. They are
  numbered in the order in which they become complete (a leaf, then each node that it completes, upwards), so
  that a file of them only grows.
- Adding a leaf, a root and a proof take O(log n) steps or a small power of it; nothing is recomputed.
- A check that fails raises. Nothing here reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from pseudonym.errors import AuditProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""Gives the hash of a complete subtree by its height (0 for a leaf) and its number among those."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree as far as it is needed to go on: the roots of its complete subtrees, largest first.

    Attributes:
        size: how many leaves it has.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)

    def copy(self) -> Frontier:
        return Frontier(self.size, self._peaks)

    def add(self, leaves: Iterable[bytes]) -> list[bytes]:
        """Add leaves, and return the subtrees that they completed, in the order of becoming complete."""
        done: list[bytes] = []
        append, peaks, size = done.append, self._peaks, self.size
        for node in leaves:
            append(node)
            rest = size
            while rest & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                append(node)
                rest >>= 1
            peaks.append(node)
            size += 1
        self.size = size
        return done

    def root(self) -> bytes:
        """The root hash of the tree."""
        return _folded(self._peaks)


def _folded(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def complete(size: int) -> int:
    """How many complete subtrees a tree of `size` leaves has."""
    return 2 * size - size.bit_count()


def position(level: int, number: int) -> int:
    """Where a complete subtree stands in the order in which they become complete, from 0."""
    return complete(((number + 1) << level) - 1) + level


def peaks(size: int) -> list[tuple[int, int]]:
    """The largest complete subtrees of a tree, from left to right: height and number."""
    found, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def frontier(node: Node, size: int) -> Frontier:
    """The frontier of the first `size` leaves of a stored tree."""
    return Frontier(size, (node(level, number) for level, number in peaks(size)))


def root(node: Node, size: int) -> bytes:
    """The root hash of the first `size` leaves of a stored tree."""
    return frontier(node, size).root()


def inclusion_path(node: Node, number: int, size: int) -> list[bytes]:
    """The proof that leaf `number` is in the tree of the first `size` leaves (RFC 9162, 2.1.3.1).

    Returns:
        The hashes from the leaf's sibling upwards.

    Raises:
        AuditProofError: there is no such leaf.
    """
    if not 0 <= number < size:
        raise AuditProofError("The tree has no such entry.", "Entries are counted from 0.")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if number < middle:
            path.append(_range(node, middle, end))
            end = middle
        else:
            path.append(_range(node, start, middle))
            start = middle
    return path[::-1]


def consistency_path(node: Node, old: int, new: int) -> list[bytes]:
    """The proof that the tree of the first `old` leaves is the beginning of that of the first `new` ones.

    RFC 9162, 2.1.4.1. An empty tree is the beginning of any other, without a proof.

    Raises:
        AuditProofError: `old` is greater than `new`, or negative.
    """
    if not 0 <= old <= new:
        raise AuditProofError("The older tree has more entries than the newer one.")
    if old == 0:
        return []
    start, end, path, whole = 0, new, [], True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range(node, middle, end))
            end = middle
        else:
            path.append(_range(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_range(node, start, end))
    return path[::-1]


def check_inclusion(number: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is in the tree of that size and root, at that place (RFC 9162, 2.1.3.2).

    Raises:
        AuditProofError: the proof does not show it.
    """
    failed = AuditProofError("The proof does not show that the entry is in the log at this place.")
    if not 0 <= number < size:
        raise failed
    place, last, found = number, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise failed
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last or found != root:
        raise failed


def check_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the one tree is the beginning of the other (RFC 9162, 2.1.4.2).

    Raises:
        AuditProofError: the proof does not show it.
    """
    failed = AuditProofError("The proof does not show that the older log is the beginning of the newer one.")
    if old == new or old == 0:
        if path or old > new or old_root != (new_root if old else EMPTY_ROOT) or old < 0:
            raise failed
        return
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not 0 < old < new or not hashes:
        raise failed
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise failed
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    if last or before != old_root or after != new_root:
        raise failed


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _range(node: Node, start: int, end: int) -> bytes:
    """The root of the leaves from `start` up to `end`, where the tree has a node for them."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range(node, start, middle), _range(node, middle, end))
