"""Open a page in headless Chromium, run a script in it, and hand back what the script returns.

No driver is needed: a document around the page, in a frame of the wanted width, waits until the
page has drawn itself, runs the script and writes its result where `--dump-dom` shows it.
"""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_AROUND = """<!DOCTYPE html><html><body style="margin:0">
<iframe id="frame" style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<pre id="result" style="display:none"></pre>
<script>
const frame = document.getElementById("frame");
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function run(script) {{
  const window_ = frame.contentWindow;
  for (let n = 0; n < 600 && window_.document.body?.dataset.ready !== "1"; n++) await wait(50);
  try {{
    return await window_.eval("(async () => {{" + script + "}})()");
  }} catch (error) {{
    return {{ error: String(error) }};
  }}
}}
(async () => {{
  let result = await run({script});
  for (const [page, script] of {then}) {{
    const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
    frame.srcdoc = page;
    await loaded;
    result = [result, await run(script)];
  }}
  document.getElementById("result").textContent = JSON.stringify(result);
}})();
</script></body></html>"""


@dataclass(frozen=True)
class Opened:
    """What the script returned, and what the browser wrote to its console."""

    result: Any
    console: list[str]


def find() -> str | None:
    """The first Chromium on the path; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def opened(
    page: str,
    folder: Path,
    script: str,
    *,
    width: int = 1280,
    height: int = 3000,
    dark: bool = False,
    picture: Path | None = None,
    then: tuple[str, str] | None = None,
) -> Opened:
    """Opens `page`, without network, and runs `script`, the body of an async function, in it.

    `then` are a page that takes its place, as when it loads again, and a script; what the two
    scripts return is then a list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "around.html"
    text = _AROUND.format(
        width=width,
        height=height,
        page=html.escape(page, quote=True),
        script=json.dumps(script),
        # A script of the page must not end that of the document around it.
        then=json.dumps([then] if then else []).replace("</", "<\\/"),
    )
    file.write_text(text, encoding="utf-8")
    command = [
        *(str(find()), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--proxy-server=127.0.0.1:9", "--enable-logging=stderr"),
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={max(width, 500)},{height}",
        "--virtual-time-budget=60000",
        f"--screenshot={picture}" if picture else "--dump-dom",
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    found = re.search(r'<pre id="result"[^>]*>(.*?)</pre>', done.stdout, re.DOTALL)
    result = json.loads(html.unescape(found[1])) if found and found[1] else None
    return Opened(result=result, console=console)
