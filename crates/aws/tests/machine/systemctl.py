#!/usr/bin/python3
"""In place of systemd, which wants a machine of its own: starts services from their units and starts them again. It
refuses what it does not know, so that no line of a unit is passed over."""
import os, resource, shlex, subprocess, sys, time

KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst", "OnFailure"},
    "Service": {
        "Type", "User", "Environment", "ExecStartPre", "ExecStart", "Restart", "RestartSec", "KillMode",
        "TimeoutStopSec", "LimitNOFILE", "NoNewPrivileges", "StandardOutput", "StandardError",
        # Takes systemd's own control groups. The other fence must hold without it.
        "IPAddressDeny",
    },
    "Install": {"WantedBy"},
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


def read(name):
    section, unit = None, {}
    for line in open(f"/etc/systemd/system/{name}"):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            if key not in KNOWN[section] or "%" in value or "$" in value:
                sys.exit(f"{name}: `{line}` is not known here")
            unit[key] = value
    return unit


def command(unit, text, is_root=False):
    # Not every root may raise what a container was given.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = ["prlimit", f"--nofile={min(int(unit['LimitNOFILE']), most)}"] if "LimitNOFILE" in unit else []
    rights = ["setpriv"] + (["--no-new-privs"] if unit.get("NoNewPrivileges") == "yes" else [])
    if "User" in unit and not is_root:
        rights += [f"--reuid={unit['User']}", f"--regid={unit['User']}", "--clear-groups"]
    return limits + (rights if len(rights) > 1 else []) + shlex.split(text)


def run(unit, key):
    """Runs a command of a unit, as the process that systemd would make of it."""
    text = unit[key]
    variables = dict(pair.split("=", 1) for pair in shlex.split(unit.get("Environment", "")))
    output = unit.get("StandardOutput", "append:/dev/null").removeprefix("append:")
    with open(output, "ab") as log:
        return subprocess.Popen(
            command(unit, text.removeprefix("+"), text.startswith("+")),
            env={"PATH": PATH, "LANG": "C.UTF-8", **variables}, cwd="/", umask=0o022,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )


def supervise(name, started):
    unit = read(name)
    ends = []
    while True:
        is_ready = "ExecStartPre" not in unit or run(unit, "ExecStartPre").wait() == 0
        status = 1
        if is_ready:
            process = run(unit, "ExecStart")
            os.write(started, b"1")
            status = process.wait()
        if status == 0 or unit.get("Restart") != "on-failure":
            return
        ends = [end for end in ends if end > time.time() - int(unit["StartLimitIntervalSec"])] + [time.time()]
        if len(ends) >= int(unit["StartLimitBurst"]):
            run(read(unit["OnFailure"]), "ExecStart").wait()
            return
        time.sleep(int(unit["RestartSec"]))


match sys.argv[1:]:
    case ["daemon-reload"]:
        pass
    case ["enable", "--now", name]:
        said, started = os.pipe()
        if os.fork() == 0:
            os.setsid()
            os.close(said)
            nothing = os.open("/dev/null", os.O_RDWR)
            for stream in 0, 1, 2:
                os.dup2(nothing, stream)
            supervise(name, started)
            os._exit(0)
        os.close(started)
        sys.exit(os.read(said, 1) != b"1")
    case other:
        sys.exit(f"{other} is not known here")
