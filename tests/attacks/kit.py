"""A program of the tenant's own: a Python that lies in the instance's folder with all that it needs.

The sandbox holds no other program than PocketBase, so whoever wants one brings it, as a real attacker would.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from pocketfleet.runtime.sandbox.contents import linked_with
from tests.attacks import attacker

#: Compiled modules that the attacker's script uses, or what it imports does.
_COMPILED = (
    "_ctypes",
    "_socket",
    "_struct",
    "_json",
    "fcntl",
    "select",
    "math",
    "array",
    "_posixsubprocess",
    "_datetime",
)
#: Packages that are needed besides the modules at the top.
_PACKAGES = ("collections", "ctypes", "encodings", "importlib", "json", "re")

#: GET /attack?trick=NAME&order=JSON runs the attacker's script and answers what it printed; 0.23 and later.
HOOK = """
routerAdd("GET", "/attack", (e) => {
  const kit = __hooks + "/../kit", query = e.request.url.query()
  const command = $os.cmd(kit + "/ld.so", "--library-path", kit + "/libraries", kit + "/python", "-S",
    kit + "/attacker.py", query.get("trick"), query.get("order"))
  command.env = ["PYTHONHOME=" + kit, "PYTHONDONTWRITEBYTECODE=1"]
  command.dir = kit + "/.."
  try {
    return e.string(200, toString(command.combinedOutput()))
  } catch (error) {
    return e.string(500, "" + error)
  }
})
routerAdd("GET", "/flood", (e) => {
  for (let i = 0; i < 40000; i++) console.log("flood ".repeat(200))
  return e.string(200, "")
})
"""


def pack(folder: Path) -> None:
    """Put it, and the hook, into an instance's folder."""
    kit = folder / "kit"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    compiled = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    target = kit / "lib" / version / "lib-dynload"
    target.mkdir(parents=True)
    (kit / "libraries").mkdir()
    python = Path(sys.executable).resolve()
    shutil.copy(python, kit / "python")
    loader, *libraries = linked_with(python)
    shutil.copy(loader, kit / "ld.so")
    for module in (path for name in _COMPILED for path in compiled.glob(f"{name}.*.so")):
        shutil.copy(module, target)
        libraries += _libraries(module, loader)
    for library in dict.fromkeys(libraries):
        shutil.copy(library, kit / "libraries")
    _zip_modules(kit / "lib" / f"{version.replace('.', '')}.zip")
    shutil.copy(attacker.__file__, kit / "attacker.py")
    (folder / "pb_hooks" / "main.pb.js").write_text(HOOK)


def _libraries(module: Path, loader: str) -> list[str]:
    """A compiled module names no loader of its own."""
    done = subprocess.run([loader, "--list", str(module)], capture_output=True, text=True, check=True)
    return [word for word in done.stdout.split() if word.startswith("/") and word != loader]


def _zip_modules(path: Path) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    with zipfile.ZipFile(path, "w") as archive:
        for module in [*stdlib.glob("*.py"), *(each for name in _PACKAGES for each in (stdlib / name).rglob("*.py"))]:
            archive.write(module, module.relative_to(stdlib))
