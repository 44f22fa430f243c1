"""Chromium for tests of the page: where it is, how it is started without a network, how wide a page is on a phone."""

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--dump-dom",
)

# A window is never narrower than 500 pixels; a frame is. Everything that is folded is open.
FRAME = """<body style="margin:0"><iframe id="f" src="{name}" style="border:0;width:{width}px;height:900px"></iframe>
<script>
document.getElementById("f").onload = function () {{
  var inside = document.getElementById("f").contentDocument;
  inside.querySelectorAll("details").forEach(function (one) {{ one.open = true; }});
  document.title = "wide " + inside.documentElement.scrollWidth;
}};
</script></body>"""


def width(page: Path, phone: int = 390) -> int:
    """Pixels that a page takes on a screen of `phone` pixels: more where something does not fit."""
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(name=page.name, width=phone), encoding="utf-8")
    flags = (*FLAGS, "--virtual-time-budget=8000", "--allow-file-access-from-files", "--hide-scrollbars")
    command = [str(CHROMIUM), *flags, f"--user-data-dir={page.parent / 'profile'}", frame.as_uri()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"<title>wide (\d+)</title>", said)
    assert found is not None, said[:2000]
    return int(found[1])
