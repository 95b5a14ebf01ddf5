"""``rl-abel inspect --html``: one page for any number of runs, as a browser shows it."""

import json
import math
import re

import pytest

from rl_abel.inspection.cli import main
from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.traces import Decayed, Record, Trace
from rl_abel.inspection.verdict import judge
from rl_abel.inspection.web_page import COLORS, DECAY, POINTS, chart_data, thinned, write_page
from rl_abel.inspection.words import spark
from tests.browser import open_browser
from tests.test_inspect import DIP, FINAL, RISE, both, made, write_log

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>document.title='stolen'</script><img src=x onerror=alert(1)>&amp;\"'"
NAN = math.nan


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as page:
        page.resize(1400, 1200)
        # What a page says on its console, and whatever it would like to load.
        for domain in ("Runtime", "Network", "Page"):
            page.call(f"{domain}.enable")
        yield page


def shown(browser, path):
    """Open a page, with a list of what goes wrong in it."""
    listen = (
        "window.wrong = []; addEventListener('error', event => wrong.push(event.message || event.target.src), true);"
    )
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=listen)["identifier"]
    browser.go(path.as_uri())
    browser.wait_until(f"location.href === {path.as_uri()!r} && document.readyState === 'complete'")
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    return browser


def written(tmp_path, findings, skipped=(), rule="trend"):
    path = tmp_path / "page.html"
    write_page(findings, skipped, rule, "as always", path)
    return path


def diagnosed(**changes):
    """A run of which a log tells everything, bouncing in its policy."""
    record = Record(1, [5000], [Decayed(5000, "bounce", 0.5), *FINAL], 0.05, True)
    n = len(DIP)
    terms = {
        f"{term}_{part}": [NAN, *[0.001 * i for i in range(1, n)]]
        for term in ("displacement", "alignment", "relative_update")
        for part in ("total", "policy", "value")
    }
    curves = {
        "learning rate": [(0, 1e-3), (5000, 5e-4), (7600, 5e-5), (8900, 5e-5)],
        "episode reward": [(1000 * i, 10.0 * i) for i in range(9)],
        "evaluation": [(4000, 33.0), (8000, 77.0)],
    }
    about = {"algorithm": "PPO", "environment": "CartPole-v1"}
    norms = both()
    # Algorithm 1 takes it for a bounce.
    norms["total"][20] += 8
    trace = Trace("runs/all", "tensorboard", [100 * i for i in range(n)], norms, terms, 0.1, {}, record)
    return judge(Trace(**{**vars(trace), "curves": curves, "about": about, **changes}))


FINDINGS = [
    diagnosed(),
    judge(made(DIP, path="runs/dip")),
    judge(made(RISE[:30], path="runs/short")),
    judge(made([*RISE, NAN], path="runs/wrong")),
    judge(made([5.0], path="runs/one")),
]
TITLES = [
    "|w|² over its start, and who decays the rate",
    "learning rate",
    "return",
    "why |w|² of the total moves",
    "why |w|² of the policy moves",
    "why |w|² of the value moves",
    "what an update moves, as a share of |w|",
]
COLUMN = """(name => {
  const column = [...document.querySelectorAll('thead th')].findIndex(head => head.textContent === name);
  return [...document.querySelectorAll('tbody > tr:first-child')].map(row => row.cells[column].textContent);
})"""


def column(browser, name):
    return browser.evaluate(f"{COLUMN}({name!r})")


def press(browser, key, code):
    """Press a key on what has the focus."""
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


def test_the_page_of_many(browser, tmp_path):
    shown(browser, written(tmp_path, FINDINGS))
    assert column(browser, "Run") == ["all", "dip", "short", "wrong", "one"]
    assert column(browser, "Algorithm") == ["PPO", *["–"] * 4]
    assert column(browser, "Bounced") == [
        "in training",
        "on the trace",
        "not seen (few)",
        "diverged",
        "too few to tell",
    ]
    (at,) = [f"{bounce.timestep:,}" for bounce in FINDINGS[1].bounces]
    assert column(browser, "First by trend") == [at, at, "–", "–", "–"]
    assert column(browser, "Norm") == ["policy", "total", "–", "–", "–"]
    assert column(browser, "Trend decays") == ["1", "1", "0", "0", "0"]
    assert column(browser, "Decays ×") == ["0.05", *["–"] * 4]
    assert column(browser, "|w|²")[1] == spark(DIP, 12)
    assert column(browser, "× at end") == ["1.441", "1", "1.145", "–", "1"]
    assert column(browser, "Last return") == ["77", *["–"] * 4]
    lines = browser.text().split("\n")
    assert "2 of 5 runs bounced. In training: 1; on the trace: 1; not seen (few): 1;" in " ".join(lines)
    assert not browser.evaluate("document.querySelectorAll('figure').length"), "nothing is drawn before it is asked for"
    assert browser.evaluate("wrong") == []


def test_it_sorts_by_mouse_and_by_keyboard(browser, tmp_path):
    shown(browser, written(tmp_path, FINDINGS))
    head = "[...document.querySelectorAll('thead button')].find(button => button.textContent === 'Measured')"
    order = f"{head}.parentNode.getAttribute('aria-sort')"
    browser.evaluate(f"{head}.focus()")
    press(browser, "Enter", 13)
    assert (column(browser, "Measured"), browser.evaluate(order)) == (["91", "90", "90", "30", "1"], "descending")
    browser.evaluate(f"{head}.click()")
    assert (column(browser, "Measured"), browser.evaluate(order)) == (["1", "30", "90", "90", "91"], "ascending")
    for _ in range(2):
        browser.evaluate(
            "[...document.querySelectorAll('thead button')].find(b => b.textContent === 'Last return').click()"
        )
        assert column(browser, "Last return")[0] == "77", "what is not known comes last, either way"
    browser.evaluate("document.querySelector('thead button').click()")
    assert column(browser, "Run") == ["all", "dip", "one", "short", "wrong"]
    assert browser.evaluate("document.querySelectorAll('[aria-sort]').length") == 1


def test_a_row_opens_its_charts(browser, tmp_path):
    shown(browser, written(tmp_path, FINDINGS))
    browser.evaluate("document.querySelector('tbody button').focus()")
    press(browser, "Enter", 13)
    assert browser.evaluate("[...document.querySelectorAll('figcaption')].map(one => one.textContent)") == TITLES
    text = browser.text()
    for sentence in (FINDINGS[0].verdict,):
        assert sentence in text
    assert "×0.5 at 5,000 (bounce), ×0.1 at 7,600 (final)" in text
    press(browser, "Enter", 13)
    assert FINDINGS[0].verdict not in browser.text()
    for button in range(1, len(FINDINGS)):
        browser.evaluate(f"document.querySelectorAll('tbody button')[{button}].click()")
    assert browser.evaluate("document.querySelectorAll('figure').length") == len(TITLES) + len(FINDINGS) - 1
    assert "NaN" not in browser.evaluate(
        "document.querySelector('table').innerHTML.replace(/<script.*?<.script>/gs, '')"
    )
    assert browser.evaluate("wrong") == []


@pytest.mark.parametrize("rule", ["trend", "paper"])
def test_lines_and_marks_are_where_they_belong(browser, tmp_path, rule):
    """Told from pixels: along the axis by the ticks, up by the ends of the line."""
    finding = diagnosed()
    shown(browser, written(tmp_path, [finding], rule=rule))
    script = """(() => {
      const [norms, , , why] = document.querySelectorAll('figure svg[role=img]');
      const place = sign => sign.getAttribute('transform').match(/[-\\d.]+/g).map(Number);
      const all = (svg, kind) => [...svg.querySelectorAll(kind)];
      return {
        ticks: all(norms, 'text[text-anchor=middle]').map(one => [one.textContent, +one.getAttribute('x')]),
        courses: all(norms, 'path.course').map(one => [one.getAttribute('stroke'), one.getAttribute('d')]),
        bounces: all(norms, 'path.bounce').map(place), marks: all(norms, 'path.mark').map(place),
        made: all(norms, 'line.made').map(one => [+one.getAttribute('x1'), one.getAttribute('stroke-dasharray')]),
        colors: [...new Set(all(norms, 'path.bounce, path.mark').map(one => one.getAttribute('fill')))],
        words: all(norms, 'path.mark title').map(one => one.textContent),
        terms: all(why, 'path.course').map(one => one.getAttribute('d').split(' ').filter(part => part).length),
      };
    })()"""
    found = browser.evaluate(script)
    ticks = {text: x for text, x in found["ticks"] if text != "timesteps"}
    unit = (ticks["6000"] - ticks["2000"]) / 4000
    x_of = lambda timestep: ticks["2000"] + (timestep - 2000) * unit  # noqa: E731
    assert [color for color, _ in found["courses"]] == [COLORS[part] for part in ("total", "policy", "value")]
    points = {
        color: [tuple(map(float, point.split(","))) for point in re.findall(r"[\d.]+,[\d.]+", d)]
        for color, d in found["courses"]
    }
    places = [x_of(timestep) for timestep in finding.trace.timesteps]
    assert [x for x, _ in points[COLORS["policy"]]] == pytest.approx(places, abs=0.1)
    heights = [-y for _, y in points[COLORS["policy"]]]
    assert min(range(len(DIP)), key=heights.__getitem__) == min(range(len(DIP)), key=DIP.__getitem__)
    assert heights[0] == pytest.approx(heights[60], abs=0.2), "the policy is back at its start"
    decays = finding.decays[rule]
    assert decays
    for (x, y), decay in zip(found["bounces"], decays, strict=True):
        part = "policy" if rule == "trend" else "total"
        assert x == pytest.approx(x_of(decay.timestep), abs=0.1)
        assert y + 6 == pytest.approx(points[COLORS[part]][finding.trace.timesteps.index(decay.timestep)][1], abs=0.2)
    assert found["made"] == [[pytest.approx(x_of(5000), abs=0.1), ""], [pytest.approx(x_of(7600), abs=0.1), "6 4"]]
    expected = [5000, 7600, *(d.timestep for name in ("trend", "paper") for d in finding.decays[name])]
    assert [x for x, _ in found["marks"]] == pytest.approx([x_of(timestep) for timestep in expected], abs=0.1)
    assert len({y for _, y in found["marks"]}) == 3, "a row for each that decays"
    assert found["words"][0] == "timestep 5,000: ×0.5 (bounce)"
    assert (found["colors"], found["terms"]) == ([DECAY], [len(DIP) - 1] * 2)


def test_nothing_is_taken_from_a_name(browser, tmp_path):
    trace = made(DIP, path=f"runs/{HOSTILE}", **{HOSTILE: RISE})
    trace = Trace(**{**vars(trace), "about": {"algorithm": HOSTILE}, "notes": [HOSTILE], "skipped": {HOSTILE: HOSTILE}})
    path = written(tmp_path, [judge(trace), judge(made(DIP, path="runs/b\udcff"))], [Skipped(HOSTILE, HOSTILE)])
    shown(browser, path)
    browser.evaluate("document.querySelector('tbody button').click()")
    assert column(browser, "Run") == [HOSTILE, "b\\udcff"]
    assert column(browser, "Algorithm")[0] == HOSTILE
    assert browser.text().count(HOSTILE) >= 6
    assert browser.evaluate("[document.title, document.images.length, wrong.length]") == ["rl-abel inspect: runs", 0, 0]


def test_it_needs_nothing_else(tmp_path):
    text = written(tmp_path, FINDINGS, [Skipped("x", "closed")]).read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert set(re.findall(r"https?://[^\"'\s]*", text)) == {"http://www.w3.org/2000/svg"}, "a name, nothing to load"
    assert "@import" not in text
    assert "url(" not in text


def test_one_run_is_open_from_the_start(browser, tmp_path):
    write_log(tmp_path / "run" / "progress.csv", both())
    assert main(["inspect", str(tmp_path / "run"), "--html", str(tmp_path / "page.html"), "--depth", "0.05"]) == 0
    shown(browser, tmp_path / "page.html")
    assert browser.evaluate("document.querySelectorAll('figure').length") == 1
    assert "The rule sees a bounce of the policy norm" in browser.text()
    assert "trend (window 10, z 3.7, depth 0.05; watch=any) and paper (watch=total)" in browser.text()


def test_what_could_not_be_read_is_on_the_page_too(browser, tmp_path, capsys):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK cut off")
    for more, status in ((["missing"], 1), (["missing", "run"], 0)):
        write_log(tmp_path / "run" / "progress.csv", both())
        paths = [str(tmp_path / name) for name in ("broken.zip", *more)]
        assert main(["inspect", *paths, "--html", str(tmp_path / "page.html")]) == status
        shown(browser, tmp_path / "page.html")
        text = browser.text()
        assert ("No run could be read." in text) == (status == 1)
        for line in ("Not everything was read.", "1: no such file or folder", str(tmp_path / "missing"), str(broken)):
            assert line in text
        assert browser.evaluate("wrong") == []
    assert "skipped" in capsys.readouterr().err


def test_many_for_one_reason_are_folded(browser, tmp_path):
    shown(browser, written(tmp_path, FINDINGS[:2], [Skipped(f"run{i}", "no norms") for i in range(100)]))
    assert "100: no norms" in browser.text()
    assert "run99" not in browser.text()


def test_a_thousand_runs(browser, tmp_path):
    """Long ones, with everything that is recorded: a page that opens, sorts and draws the last of them."""
    finding, n = diagnosed(), 2000
    trace = finding.trace
    long = {
        "timesteps": [100 * i for i in range(n)],
        "norms": {part: [norms[i % len(norms)] for i in range(n)] for part, norms in trace.norms.items()},
        "terms": {name: [values[i % len(values)] for i in range(n)] for name, values in trace.terms.items()},
    }
    long_run = judge(Trace(**{**vars(trace), **long}))
    findings = []
    for i in range(1000):
        changed = Trace(**{**vars(long_run.trace), "path": f"runs/{i}"})
        findings.append(type(long_run)(**{**vars(long_run), "trace": changed}))
    path = written(tmp_path, findings)
    assert path.stat().st_size < 60e6
    shown(browser, path)
    browser.evaluate("document.querySelector('thead button').click(); document.querySelector('thead button').click()")
    assert column(browser, "Run") == [str(i) for i in reversed(range(1000))]
    browser.evaluate("document.querySelector('tbody button').click()")
    assert browser.evaluate("document.querySelectorAll('figure').length") == len(TITLES)
    assert browser.evaluate("wrong") == []


# What the charts are given


def test_the_points_that_are_drawn():
    norms = [10.0 + 0.001 * i for i in range(5000)]
    norms[1234], norms[4321], norms[7] = 1.0, 99.0, NAN
    kept = thinned([norms], marked=[77])
    assert kept == sorted(set(kept))
    assert {0, 77, 1234, 4321, 4999} <= set(kept)
    assert len(kept) <= POINTS + 3
    assert thinned([[NAN] * 500]) == thinned([[1.0] * 500])
    assert thinned([norms[:POINTS]]) == list(range(POINTS))


def test_gaps_are_null():
    data = chart_data(judge(made([2.0, NAN, math.inf, 3.00000001])))
    assert data["norms"] == {"total": [1.0, None, None, 1.5]}
    assert json.loads(json.dumps(data, allow_nan=False)) == json.loads(json.dumps(data))
