//! Where every program starts from: an interpreter with modules imported, and nothing of the programs before it.

use rltrain_executor::Outcome::Passed;
use rltrain_executor::Verdict;

use super::{EXECUTOR, job, outcomes, start};

/// Uses what the programs below change. Prints addresses and hashes, which would show the least change.
const CANARY: &str = "\
import collections, functools, gc, heapq, json, math, random, re, string, sys, typing
print(math.sqrt(4), re.compile('a+').match('aa').end(), json.dumps({'a': [1]}), random.random(), string.digits)
print(collections.Counter('aab').most_common(), heapq.nsmallest(2, [3, 1, 2]), typing.List[int], len('abc'))
print(functools.reduce(max, [1, 3, 2]), gc.isenabled(), gc.get_freeze_count(), sorted(sys.modules), sys.path)
print(id(object()), id(math), hash('abc'), hash((1, 'a')), sys.getrefcount(json), sys.maxsize)
print({str(n) for n in range(9)}, sys.getallocatedblocks())
";

fn canary(round: usize, executor: &rltrain_executor::Executor) -> Verdict {
    // The comment makes it another job, with the same work but for a character that is skipped.
    executor.submit(job(&format!("{CANARY}#{round}"), &["assert 1 == 1"])).wait().unwrap()
}

#[test]
fn a_program_that_changes_imported_modules_changes_only_its_own() {
    let executor = start(1, "start");
    let wanted = canary(0, &executor);
    assert_eq!(wanted.tests, [Passed], "{wanted:?}");
    assert!(wanted.stdout.starts_with("2.0 2 {\"a\": [1]}"), "{}", wanted.stdout);
    let changes = [
        "import math, re, json\nmath.sqrt = re.compile = json.dumps = None",
        "import builtins\nbuiltins.len = lambda value: 7\nbuiltins.print = None",
        "import sys\nsys.modules['heapq'] = None\nsys.path.clear()\nsys.maxsize = 1",
        "import random, string\nrandom.seed(1)\nstring.digits = ''\nrandom.random = lambda: 4",
        "import collections\ndel collections.Counter.most_common\ncollections.extra = list(range(10000))",
        "import gc\ngc.unfreeze()\ngc.collect()\ngc.disable()",
        "import typing\nfor n in range(300): typing.List[type(f'T{n}', (), {})]\ntyping.List = None",
        "import re\nfor n in range(600): re.compile(f'a{n}')",
        "import functools\nfunctools.reduce = None\nheld = [[n] for n in range(200000)]",
        "held = b'a' * (150 << 20)",
    ];
    for (round, change) in changes.into_iter().enumerate() {
        let verdict = executor.submit(job(change, &["assert 1 == 1"])).wait().unwrap();
        assert_eq!(verdict.load, Passed, "{change}: {verdict:?}");
        let verdict = canary(round % 10, &executor);
        assert_eq!(verdict, wanted, "after {change}");
    }
}

#[test]
fn imported_modules_are_found_and_no_name_of_theirs_is_in_the_program() {
    let program = "\
import sys
names = sorted(globals())
odd = [name for name, module in sys.modules.items() if module is None]
";
    let tests = [
        "assert names == ['__builtins__', '__doc__', '__loader__', '__name__', '__package__', '__spec__', 'sys']",
        "assert odd == []",
        "assert 'solution' in sys.modules and 'typing' in sys.modules and 'numpy' not in sys.modules",
        "assert sys.modules['solution'].names is names",
        "try:\n    math.sqrt(2)\nexcept NameError: pass\nelse: raise AssertionError",
        "import typing\nassert typing is sys.modules['typing']",
        "assert [hasattr(sys, name) for name in ('settrace', 'setprofile')] == [False, False]",
    ];
    assert_eq!(outcomes(program, &tests), [Passed; 7]);
    let fuel = |program: &str| EXECUTOR.submit(job(program, &["assert 1 == 1"])).wait().unwrap().fuel;
    let imports = "import typing, re, json, collections, heapq, itertools, dataclasses, unittest, decimal\n";
    assert!(fuel(imports) < fuel("pass\n") + 500_000, "{} and {}", fuel(imports), fuel("pass\n"));
}

#[test]
fn output_is_the_programs_own_and_all_of_it() {
    let verdict = EXECUTOR.submit(job("", &["assert 1 == 1"])).wait().unwrap();
    assert_eq!((&*verdict.stdout, &*verdict.stderr), ("", ""));
    assert!(verdict.denied.is_empty(), "{verdict:?}");
    let program = "import sys\nprint('a', end='')\nsys.stderr.write('b')\n";
    let verdict = EXECUTOR.submit(job(program, &["print('c', end='')"])).wait().unwrap();
    assert_eq!((&*verdict.stdout, &*verdict.stderr), ("ac", "b"));
}
