//! Programs that want a verdict that they have not earned.

use rltrain_executor::Outcome::{Crashed, Exited, Failed, OutOfFuel, Passed};

use super::{judge, outcomes, short_job};

#[test]
fn refused_calls_are_counted_by_name() {
    let program = "for _ in range(3):\n    try: open('/usr/local/lib/python315.zip', 'r+b')\n    except OSError: pass\n";
    let verdict = judge(short_job(program, &["assert True"]));
    assert_eq!(verdict.load, Passed);
    assert_eq!(verdict.denied.get("path_open"), Some(&3), "{verdict:?}");
}

#[test]
fn leaving_early_is_not_passing() {
    let program = "import os, sys\n\
                   def leave(): os._exit(0)\n\
                   def quit(): sys.exit(0)\n\
                   def stop(): raise SystemExit\n\
                   def abort(): os.abort()\n";
    let tests =
        ["assert leave() == 1", "leave()", "quit()", "assert stop() == None", "abort()", "assert 1 + 1 == 2"];
    assert_eq!(outcomes(program, &tests), [Exited, Exited, Exited, Exited, Crashed, Passed]);
}

#[test]
fn an_object_that_equals_everything_equals_no_literal() {
    let program = "class Same:\n    def __eq__(self, other): return True\n    def __hash__(self): return 2\n\
                   class Number(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n\
                   class Plain:\n    def as_integer_ratio(self): return self, 1\n    __eq__ = Same.__eq__\n\
                   class Pair(list):\n    def __eq__(self, other): return True\n    def __iter__(self): return iter([7])\n";
    let tests = [
        "assert Same() == 7",
        "assert [Same()] == [7]",
        "assert {Same(): Same()} == {2: 7}",
        "assert Number(1) == 7",
        "assert Plain() == 7",
        "assert Pair() == [8]",
        "assert Number(7) == 7",
    ];
    let wanted = [Failed, Failed, Failed, Failed, Failed, Failed, Passed];
    let found = outcomes(program, &tests);
    assert_eq!(found.last(), wanted.last());
    assert!(found[..6].iter().all(|outcome| *outcome != Passed), "{found:?}");
}

#[test]
fn there_is_no_frame_above_a_program_or_a_test() {
    let program = "import sys\ndef depth():\n    frame, count = sys._getframe(), 0\n\
                   \x20   while frame: frame, count = frame.f_back, count + 1\n    return count\nassert depth() == 2\n";
    assert_eq!(outcomes(program, &["assert depth() == 2", "x = depth()\nassert x == 2"]), [Passed, Passed]);
}

#[test]
fn a_verdict_cannot_be_forged_by_changing_the_interpreter() {
    for program in [
        // The runtime's own session code, which reports outcomes when it is used as it was meant to.
        "import sys\ntry: import _reactor\nexcept ImportError: pass\nelse:\n    for name in list(vars(_reactor)): setattr(_reactor, name, lambda *a: (0, False))",
        "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})",
        "import builtins, sys\nsys.excepthook = lambda *a: None\nbuiltins.compile = builtins.exec = lambda *a: None",
        "import gc\nfor thing in gc.get_objects():\n    if isinstance(thing, dict) and 'tests' in thing: thing.clear()",
        "import sys\nsys.stdout.write('passed 1/1\\n')",
        "import atexit, os\natexit.register(os._exit, 0)",
    ] {
        let program = format!("{program}\ndef f(): return 0\n");
        for test in ["assert f() == 1", "assert f() > 1", "x = f()\nassert x == 1"] {
            let verdict = judge(short_job(&program, &[test]));
            assert_eq!(verdict.passed(), 0, "{program}: {verdict:?}");
        }
    }
}

#[test]
fn no_callback_can_step_over_assertions() {
    let program = "import sys, gc, threading\n\
                   def tracer(frame, event, argument):\n\
                   \x20   if event == 'line':\n\
                   \x20       try: frame.f_lineno = 4\n\
                   \x20       except ValueError: pass\n\
                   \x20   return tracer\n\
                   def f():\n\
                   \x20   frame = sys._getframe(1)\n\
                   \x20   frame.f_trace = tracer\n\
                   \x20   hooks = [thing for thing in gc.get_objects() if 'trace' in getattr(thing, '__name__', '')]\n\
                   \x20   for hook in hooks + [getattr(sys, 'settrace', print), threading.settrace]:\n\
                   \x20       try: hook(tracer)\n\
                   \x20       except BaseException: pass\n\
                   \x20   return 0\n";
    let test = "x = f()\nassert x == 1\nassert x == 2\ny = 3\n";
    assert_eq!(outcomes(program, &[test]), [Failed]);
}

#[test]
fn what_breaks_one_test_does_not_break_the_next() {
    let program = "import os\nitems = []\ndef f(x):\n    items.append(x)\n    return os.abort() if x == 0 else len(items)\n";
    let tests = ["assert f(5) == 1", "assert f(0) == 1", "assert f(7) == 1", "assert f(7) == 2"];
    // After the crash the program is loaded again, so the count starts over.
    assert_eq!(outcomes(program, &tests), [Passed, Crashed, Passed, Passed]);
}

#[test]
fn a_budget_that_is_used_up_stays_used_up() {
    let verdict =
        judge(short_job("def f():\n    while True: pass\n", &["assert 1 == 1", "f()", "assert 1 == 1"]));
    assert_eq!(verdict.tests, [Passed, OutOfFuel, OutOfFuel]);
    assert_eq!(verdict.fuel, 1_000_000_000);
}
