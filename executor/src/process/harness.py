# Put together with a definition of `plain`, and followed by a call of `_judge`. The program could change any of this; what it can
# make of that is another answer, which the host compares with one that has never been in here.
def _judge():
    import json, marshal, os, sys, types
    request = json.loads(sys.stdin.buffer.read())
    answer = int(os.environ.pop("ANSWER"))
    write, dumps, formatted = os.write, marshal.dumps, BaseException.__str__
    source_path = request["path"]

    def say(*what):
        data = dumps(what, 2)
        while data:
            data = data[write(answer, data):]

    def line_of(error):
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == source_path:
                line = trace.tb_lineno
            trace = trace.tb_next
        return error.lineno if isinstance(error, SyntaxError) else line

    def message_of(error):
        try:
            return str(error)[:1000]
        except BaseException:
            return ""

    def run():
        namespace = {"__name__": "__main__"}
        if request["program"]:
            with open(source_path, "rb") as file:
                source = file.read()
            try:
                code = compile(source, source_path, "exec")
            except ValueError as error:
                raise SyntaxError(*error.args) from None
            if request["act"] == "check":
                return say("done")
            module = types.ModuleType("program")
            sys.modules["program"] = module
            namespace = module.__dict__
            exec(code, namespace)
        if request["act"] == "run":
            exec(compile(request["source"], "<test>", "exec"), namespace)
        if request["act"] in ("load", "run"):
            return say("done")
        value = eval(compile(request["source"], "<test>", "eval"), namespace)
        if request["act"] == "call":
            value = value(*request["arguments"], **request["keywords"])
        try:
            dumps(value, 2)
        except ValueError:
            value = plain(value)
        try:
            say("value", value)
        except ValueError:
            say("not plain", type(value).__name__)

    try:
        run()
    except SystemExit as error:
        say("exited", repr(error.code)[:200])
    except BaseException as error:
        say("raised", type(error).__name__, message_of(error), line_of(error))
