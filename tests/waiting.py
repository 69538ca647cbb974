"""How tests wait: for a condition, and long enough for a busy machine; never for a fixed time."""

import time

WAIT = 60
"""The timeout in seconds. Only a failing test waits this long."""


def until(condition, *ignored, patience=1):
    """Wait until the condition holds; these exceptions mean that it doesn't yet. `patience` times as
    long as for anything else.
    """
    end = time.monotonic() + patience * WAIT
    while time.monotonic() < end:
        try:
            if condition():
                return
        except ignored:
            pass
    raise TimeoutError(f"the condition did not hold within {patience * WAIT} seconds")


def settled(page):
    """Wait until the live page has drawn the result of every command it sent."""
    page.wait_for_function("() => document.body.dataset.answered === document.body.dataset.asked")


def step_of(page):
    """The step that the live page shows."""
    return int(page.inner_text("#now-step").replace(",", ""))


def run_for(page, steps):
    """Run for at least this many steps, pause, and wait until the page shows where it stopped.

    The run may have stopped before, after the planned epochs: then there is nothing to pause.
    """
    reached = "(step) => Number(document.getElementById('now-step').textContent.replaceAll(',', '')) >= step"
    wanted = step_of(page) + steps
    page.click("#run")
    page.wait_for_function(reached, arg=wanted)
    pause(page)
    settled(page)


def pause(page):
    """Pause a run. One that has stopped by itself meanwhile is paused all the same, without a click,
    which would go on: so the page has a command to answer, with all numbers of where it stopped.
    """
    pressed = page.locator("#run").evaluate("(button) => button.textContent === 'Pause' && !button.click()")
    if not pressed:
        page.evaluate("() => import('./loop.js').then((loop) => loop.pause(), () => {})")


def choose(page, selector, value):
    """Choose an option, and wait for the new network."""
    page.select_option(selector, value)
    settled(page)


def enter(page, selector, value):
    """Fill in a field, and wait for the new network."""
    page.fill(selector, value)
    page.press(selector, "Enter")
    settled(page)
