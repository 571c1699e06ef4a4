"""A page as it is seen on several screens, in a real browser."""

import json
from pathlib import Path

from tests_browser import chromium

SCREENS = ((1280, "light", "255, 255, 255"), (390, "dark", "13, 17, 23"))
"""Width, theme, and the background of the theme."""

READ = {
    "too wide": "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
    "background": "return getComputedStyle(document.body).backgroundColor",
    "pictures": "return document.images.length",
    "missing pictures": "return [...document.images].filter(one => !one.naturalWidth).map(one => one.alt)",
}
"""What is read of a page."""


def require_readable(page: Path, folder: Path) -> None:
    """Open the report's page on every screen: nothing is wider than it, no picture is missing, each cell of
    the confusion matrix leads to its pictures, and nothing is asked of any other address.

    folder: where the browser may keep what it needs.
    """
    with chromium(folder) as browser:
        for width, theme, background in SCREENS:
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            scheme = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            browser.get(page.as_uri())
            assert browser.execute_script(READ["too wide"]) == 0, "nobody scrolls sideways"
            assert browser.execute_script(READ["background"]) == f"rgb({background})"
            assert browser.execute_script(READ["missing pictures"]) == []
            assert browser.execute_script(READ["pictures"]) > 10
        for cell in browser.find_elements("css selector", ".matrix a"):
            place = cell.get_attribute("href").partition("#")[2]
            browser.execute_script("arguments[0].click()", cell)
            assert browser.find_element("id", place).is_displayed(), "a cell leads to its pictures"
        assert browser.get_log("browser") == []
        asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [each["params"] for each in asked if each["method"] == "Network.requestWillBeSent"]
    addresses = {each["request"]["url"].partition("#")[0] for each in requests}
    # a browser that starts shows a page of its own
    assert {each for each in addresses if not each.startswith(("data:", "chrome:"))} == {page.as_uri()}
