"""Builds the wheel, with nothing but Python: `python3 build_wheel.py LIBRARY [DIRECTORY]`.

LIBRARY is the shared library that goes in (libnixlang_ffi.so of cargo's target directory, or an installed libnixlang.so); a program
nixlang-build-helper beside it goes in too. The wheel serves every Python 3.10 and later of this kind of machine.
"""

import base64
import hashlib
import sys
import sysconfig
import zipfile
from pathlib import Path

NAME, VERSION = "nixlang", "0.1.0"


def main() -> None:
    library = Path(sys.argv[1])
    directory = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"py3-none-{platform}"
    info = f"{NAME}-{VERSION}.dist-info"
    files = {f"nixlang/{path.name}": path.read_bytes() for path in sorted((Path(__file__).parent / "nixlang").iterdir()) if path.suffix == ".py" or path.name == "py.typed"}
    files["nixlang/libnixlang.so"] = library.read_bytes()
    helper = library.parent / "nixlang-build-helper"
    if helper.exists():
        files["nixlang/nixlang-build-helper"] = helper.read_bytes()
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nSummary: Nix as a library\nRequires-Python: >=3.10\nLicense: MIT OR Apache-2.0\n".encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: build_wheel\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    record = []
    for name, contents in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(contents)}\n")
    files[f"{info}/RECORD"] = ("".join(record) + f"{info}/RECORD,,\n").encode()
    wheel = directory / f"{NAME}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith("helper") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents)
    print(wheel)


if __name__ == "__main__":
    main()
