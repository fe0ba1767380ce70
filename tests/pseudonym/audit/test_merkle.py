"""Roots and proofs are those of RFC 9162, and a check lets nothing else pass."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.audit import merkle
from pseudonym.errors import AuditProofError
from tests.pseudonym.audit import oracle

# The test vectors of the Certificate Transparency project: leaves, and the root after each.
LEAVES = "/00/10/2021/3031/40414243/5051525354555657/606162636465666768696a6b6c6d6e6f"
ROOTS = """6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"""

sizes = st.integers(0, 130)


def made(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


class Tree:
    """The hashes of complete subtrees in memory, as the log keeps them in a file."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.frontier = merkle.Frontier()
        self.nodes: list[bytes] = []
        for leaf in leaves:
            self.nodes += self.frontier.add([merkle.leaf_hash(leaf)])

    def node(self, level: int, number: int) -> bytes:
        return self.nodes[merkle.position(level, number)]


def test_the_vectors_of_certificate_transparency():
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES.split("/")]
    frontier = merkle.Frontier()
    assert frontier.root() == oracle.mth([]) == sha256(b"").digest()
    for size, root in enumerate(ROOTS.split(), 1):
        frontier.add([merkle.leaf_hash(leaves[size - 1])])
        assert frontier.root().hex() == oracle.mth(leaves[:size]).hex() == root


def test_every_size_has_the_root_of_the_definition():
    leaves, tree = made(130), Tree(made(130))
    for size in range(131):
        assert merkle.root(tree.node, size) == oracle.mth(leaves[:size])
        assert merkle.frontier(tree.node, size).root() == oracle.mth(leaves[:size])
        assert len(Tree(leaves[:size]).nodes) == merkle.complete(size)


@given(sizes, st.data())
def test_an_inclusion_proof_is_that_of_the_definition_and_holds(size, data):
    number = data.draw(st.integers(0, max(size - 1, 0)))
    leaves, tree = made(size), Tree(made(size))
    if not size:
        with pytest.raises(AuditProofError):
            merkle.inclusion_path(tree.node, 0, 0)
        return
    path = merkle.inclusion_path(tree.node, number, size)
    assert path == oracle.path(number, leaves)
    merkle.check_inclusion(number, size, merkle.leaf_hash(leaves[number]), path, oracle.mth(leaves))


@given(sizes, st.data())
def test_a_consistency_proof_is_that_of_the_definition_and_holds(new, data):
    old = data.draw(st.integers(0, new))
    leaves, tree = made(new), Tree(made(new))
    path = merkle.consistency_path(tree.node, old, new)
    if old:
        assert path == oracle.proof(old, leaves)
    merkle.check_consistency(old, new, path, oracle.mth(leaves[:old]), oracle.mth(leaves))


@given(st.integers(1, 70), st.data())
@settings(max_examples=300)
def test_nothing_but_the_right_inclusion_passes(size, data):
    number = data.draw(st.integers(0, size - 1))
    leaves, tree = made(size), Tree(made(size))
    leaf, root = merkle.leaf_hash(leaves[number]), oracle.mth(leaves)
    path = merkle.inclusion_path(tree.node, number, size)
    tries = [
        (number, size, sha256(leaf).digest(), path, root),
        (number, size, leaf, path, sha256(root).digest()),
        (number, size, leaf, [*path, root], root),
        (number, size, leaf, [root, *path], root),
        (-1, size, leaf, path, root),
        (size, size, leaf, path, root),
    ]
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        tries += [
            (number, size, leaf, path[:-1], root),
            (number, size, leaf, path[1:], root),
            (number, size, leaf, [*path[:at], bytes(32), *path[at + 1 :]], root),
        ]
    other = data.draw(st.integers(0, 2 * size))
    if other != number:
        tries.append((other, size, leaf, path, root))
    for one in tries:
        with pytest.raises(AuditProofError):
            merkle.check_inclusion(*one)


@given(st.integers(1, 70), st.data())
@settings(max_examples=300)
def test_nothing_but_the_right_consistency_passes(new, data):
    old = data.draw(st.integers(1, new))
    leaves, tree = made(new), Tree(made(new))
    before, after = oracle.mth(leaves[:old]), oracle.mth(leaves)
    path = merkle.consistency_path(tree.node, old, new)
    tries = [
        (old, new, path, bytes(32), after),
        (old, new, path, before, bytes(32)),
        (old, new, [*path, after], before, after),
        (old, new, [before, *path], before, after),
        (new + 1, new, path, before, after),
        (-old, new, path, before, after),
        (0, new, path, before, after),
    ]
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        tries += [
            (old, new, path[:-1], before, after),
            (old, new, path[1:], before, after),
            (old, new, [*path[:at], bytes(32), *path[at + 1 :]], before, after),
        ]
    # Another history of the same length: one earlier entry changed.
    changed = data.draw(st.integers(0, old - 1))
    forged = Tree([b"forged" if number == changed else leaf for number, leaf in enumerate(leaves)])
    path = merkle.consistency_path(forged.node, old, new)
    tries.append((old, new, path, before, forged.frontier.root()))
    for one in tries:
        with pytest.raises(AuditProofError):
            merkle.check_consistency(*one)


def test_what_cannot_be_proved_is_refused():
    tree = Tree(made(5))
    for number, size in ((5, 5), (-1, 5)):
        with pytest.raises(AuditProofError):
            merkle.inclusion_path(tree.node, number, size)
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(AuditProofError):
            merkle.consistency_path(tree.node, old, new)
