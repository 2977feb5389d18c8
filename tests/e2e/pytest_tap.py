"""pytest plugin: print the Test Anything Protocol on descriptor 3 (see run)."""

import os

OUT = os.fdopen(os.dup(3), "w", buffering=1)
os.set_inheritable(3, False)	# the servers under test must not hold the pipe open

count = 0


def say(ok, name, directive=""):
    global count
    count += 1
    name = name.replace("#", "\\#").replace("\n", " ")
    directive = " # " + directive.replace("\n", " ") if directive else ""
    OUT.write(f"{'ok' if ok else 'not ok'} {count} - {name}{directive}\n")


def reason(report):
    text = report.longrepr
    return str(text[2] if isinstance(text, tuple) else text).removeprefix("Skipped: ")


def pytest_runtest_logreport(report):
    name = report.nodeid
    if report.when == "call" and not report.skipped:
        if hasattr(report, "wasxfail"):
            say(report.passed, name, "TODO " + report.wasxfail)
        else:
            say(report.passed, name)
    elif report.skipped:
        if hasattr(report, "wasxfail"):
            say(False, name, "TODO " + report.wasxfail)
        else:
            say(True, name, "SKIP " + reason(report))
    elif report.failed:
        say(False, f"{name} ({report.when})")


def pytest_collectreport(report):
    if report.failed:
        say(False, f"{report.nodeid} (cannot be loaded)")


def pytest_sessionfinish(session, exitstatus):
    if count == 0:
        OUT.write("1..0 # SKIP no tests here\n" if exitstatus in (0, 5) else "Bail out! pytest failed\n")
    else:
        OUT.write(f"1..{count}\n")
    OUT.flush()
