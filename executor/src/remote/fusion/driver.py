def _(plain, task, load=eval, build=compile, write=None):
    import base64, json, marshal, sys, traceback
    task = json.loads(base64.b64decode(task))
    write = sys.stdout.write
    flush = sys.stdout.flush
    names = {"__name__": "solution", "__builtins__": __builtins__}
    kinds = [
        (AssertionError, "failed"),
        (SystemExit, "exited"),
        (MemoryError, "out-of-memory"),
        (RecursionError, "stack-overflow"),
    ]

    def report(at, outcome, cause=None, value=None):
        ending = {"outcome": outcome, "cause": cause} if cause else {"outcome": outcome}
        told = {"at": at, "ending": ending, "value": value}
        write("\n" + task["mark"] + json.dumps(told) + "\n")
        flush()

    def told(error, outcome, line):
        try:
            message = str(error)
        except BaseException:
            message = ""
        exception = {"kind": type(error).__name__, "message": message}
        if line:
            exception["line"] = line
        return outcome, {"exception": exception}

    def line_of(error):
        frames = [line for frame, line in traceback.walk_tb(error.__traceback__)
                  if frame.f_code.co_filename == "<program>"]
        return frames[-1] if frames else None

    def attempt(source, mode, name):
        try:
            code = build(source, name, mode)
        except BaseException as error:
            return None, told(error, "syntax-error", getattr(error, "lineno", None) if name == "<program>" else None)
        try:
            return load(code, names), ("passed", None)
        except BaseException as error:
            outcome = next((outcome for kind, outcome in kinds if isinstance(error, kind)), "raised")
            return None, told(error, outcome, line_of(error))

    def bytes_of(value):
        for make in (lambda value: value, plain):
            try:
                return base64.b64encode(marshal.dumps(make(value), 2)).decode()
            except BaseException:
                pass

    if task["only_compile"]:
        try:
            build(task["program"], "<program>", "exec")
            report(0, "passed")
        except BaseException as error:
            report(0, *told(error, "syntax-error", getattr(error, "lineno", None)))
        return
    _, (outcome, cause) = attempt(task["program"], "exec", "<program>")
    report(0, outcome, cause)
    if outcome != "passed":
        return
    for at, step in enumerate(task["steps"], 1):
        source, kind = step["source"], step["kind"]
        if kind == "compile":
            try:
                build(source, "<test>", "eval")
                report(at, "passed")
            except BaseException as error:
                report(at, *told(error, "syntax-error", None))
            continue
        value, (outcome, cause) = attempt(source, "eval" if kind == "value" else "exec", "<test>")
        report(at, outcome, cause, bytes_of(value) if kind == "value" and outcome == "passed" else None)


_(
