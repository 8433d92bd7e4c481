//! Hostile Python programs, and how they may end. Every sandbox has to face them.

use rltrain_executor::Outcome::{
    self, Crashed, Exited, Failed, OutOfFuel, OutOfMemory, OutOfTime, OutputLimit, Passed, Raised,
    StackOverflow, SyntaxError,
};

/// A program that is still loading when it ends, and how it may end in WebAssembly.
pub(crate) type Case = (String, &'static [Outcome]);

/// Whatever happens in there, it stays in there.
const ANYHOW: &[Outcome] =
    &[Passed, Failed, Raised, SyntaxError, Exited, OutOfFuel, OutOfMemory, StackOverflow, Crashed];

fn owned(cases: &[(&str, &'static [Outcome])]) -> Vec<Case> {
    cases.iter().map(|(program, ends)| ((*program).to_owned(), *ends)).collect()
}

/// They use something up: time, memory, the stack, output.
pub(crate) fn exhausting() -> Vec<Case> {
    owned(&[
        ("while True: pass", &[OutOfFuel]),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", &[OutOfFuel]),
        ("import re\nre.match('(a*)*b', 'a' * 64)", &[OutOfFuel]),
        ("from itertools import repeat\nsum(repeat(1))", &[OutOfFuel]),
        ("10 ** 10 ** 8", &[OutOfFuel]),
        ("text = 'a'\nwhile True: text += text", &[OutOfMemory]),
        ("items = []\nwhile True: items.append(bytearray(1 << 20))", &[OutOfMemory]),
        ("bytearray(3 << 30)", &[OutOfMemory, Raised]),
        ("def f(): f()\nf()", &[StackOverflow]),
        (
            "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
            &[StackOverflow, OutOfMemory, OutOfFuel],
        ),
        ("while True: print('x' * 1000)", &[OutputLimit]),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", &[OutputLimit]),
        ("import time\ntime.sleep(1000)", &[OutOfTime]),
        ("import os\nwhile True: os.urandom(1 << 20)", &[OutOfFuel]),
        ("for _ in iter(int, 1): pass", &[OutOfFuel]),
        ("import itertools\nfor _ in itertools.count(): pass", &[OutOfFuel]),
        ("import itertools\nlist(itertools.repeat(0))", &[OutOfMemory, OutOfFuel]),
        ("max(iter(int, 1))", &[OutOfFuel]),
        ("x = []\nx.append(x)\nwhile True: repr(x)", &[OutOfFuel]),
        ("class A:\n    def __del__(self):\n        while True: pass\nA()", &[OutOfFuel]),
        ("try:\n    while True: pass\nfinally:\n    while True: pass", &[OutOfFuel]),
        ("import re\nre.match('(x+x+)+y', 'x' * 40)", &[OutOfFuel]),
        ("import re\nre.sub('(.*)*z', '', 'y' * 50)", &[OutOfFuel]),
        (
            "import fractions\nx = fractions.Fraction(1, 3)\nwhile True: x = x * x + x",
            &[OutOfFuel, OutOfMemory],
        ),
        ("x = 3\nwhile True: x = x * x", &[OutOfFuel, OutOfMemory]),
        ("2 ** (2 ** 40)", &[OutOfFuel, OutOfMemory, Raised]),
        ("1 << (1 << 40)", &[OutOfMemory, Raised]),
        ("str(10 ** 100000)", &[Raised]),
        ("int('9' * 5000)", &[Raised]),
        ("import math\nmath.factorial(10 ** 9)", &[OutOfFuel, OutOfMemory]),
        ("list(range(10 ** 9))", &[OutOfMemory]),
        ("'a' * 10 ** 10", &[OutOfMemory, Raised]),
        ("b'x' * (2 ** 31 - 100)", &[OutOfMemory]),
        ("{i: i for i in range(10 ** 8)}", &[OutOfMemory, OutOfFuel]),
        ("set(range(10 ** 8))", &[OutOfMemory, OutOfFuel]),
        ("import array\narray.array('d', [0.0]) * 10 ** 8", &[OutOfMemory]),
        ("import numpy\nnumpy.ones((20000, 20000))", &[OutOfMemory, Raised]),
        ("import collections\nd = collections.deque()\nwhile True: d.append(bytes(10 ** 6))", &[OutOfMemory]),
        ("import io\nb = io.BytesIO()\nwhile True: b.write(bytes(10 ** 6))", &[OutOfMemory]),
        ("import zlib\nzlib.decompress(zlib.compress(bytes(10 ** 7)) * 1, bufsize=2 ** 30)", ANYHOW),
        (
            "import gc\ngc.disable()\nwhile True:\n    a = [0] * 100\n    a.append(a)",
            &[OutOfMemory, OutOfFuel],
        ),
        ("'{:>2000000000}'.format(1)", &[OutOfMemory, Raised]),
        ("'%2000000000d' % 1", &[OutOfMemory, Raised]),
        ("def g():\n    yield from g()\nlist(g())", &[StackOverflow]),
        ("def f(n): return f(n + 1) + 1\nf(0)", &[StackOverflow]),
        ("f = lambda: f()\nf()", &[StackOverflow]),
        ("class A:\n    def __getattr__(self, name): return getattr(self, name)\nA().x", &[StackOverflow]),
        ("class A:\n    def __repr__(self): return repr(self)\nrepr(A())", &[StackOverflow]),
        ("import copy\nx = []\nfor _ in range(100000): x = [x]\ncopy.deepcopy(x)", &[StackOverflow]),
        ("x = []\nfor _ in range(100000): x = [x]\nrepr(x)", &[StackOverflow]),
        ("x = ()\nfor _ in range(200000): x = (x,)\nhash(x)", &[StackOverflow, Crashed]),
        ("x = []\ny = []\nfor _ in range(100000): x, y = [x], [y]\nx == y", &[StackOverflow]),
        ("x = ()\nfor _ in range(300000): x = (x,)\ndel x", ANYHOW),
        ("import re\nre.compile('(' * 10000 + ')' * 10000)", &[StackOverflow, Raised]),
        ("eval('(' * 1000 + ')' * 1000)", &[Raised, OutOfMemory, StackOverflow]),
        ("eval('-' * 100000 + '1')", &[Raised, OutOfMemory, StackOverflow]),
        ("import ast\nast.literal_eval('[' * 100000)", &[Raised, OutOfMemory, StackOverflow]),
        ("import json\njson.loads('[' * 100000)", &[StackOverflow, Raised]),
        (
            "import sys\nsys.setrecursionlimit(2 ** 31 - 1)\ndef f(): f()\nf()",
            &[StackOverflow, OutOfMemory, OutOfFuel],
        ),
        ("print(*range(10 ** 6))", &[OutputLimit]),
        ("import sys\nsys.stdout.write('x' * 10 ** 7)", &[OutputLimit]),
        ("import sys\nsys.stdout.buffer.write(b'x' * 10 ** 7)\nsys.stdout.flush()", &[OutputLimit]),
        ("import os\nwhile True: os.write(2, b'x' * 1000)", &[OutputLimit]),
        ("import time\nwhile True: time.sleep(0.1)", &[OutOfTime]),
        ("import asyncio\nasyncio.run(asyncio.sleep(10 ** 6))", &[OutOfTime, Raised]),
        ("import select\nselect.select([], [], [], 10 ** 6)", &[OutOfTime, Raised]),
        ("import time\ntime.sleep(float('inf'))", &[Raised]),
    ])
}

/// They reach for the host: files, processes, the network, its environment.
pub(crate) fn reaching() -> Vec<Case> {
    let refused = [
        "import os\nos.fork()",
        "import os\nos.system('true')",
        "import subprocess\nsubprocess.run(['true'])",
        "import socket\nsocket.create_connection(('127.0.0.1', 22))",
        "from urllib.request import urlopen\nurlopen('http://127.0.0.1')",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import threading\nthreading.Thread(target=print).start()",
        "import ctypes\nctypes.CDLL(None)",
        "open('/etc/passwd')",
        "open('/proc/self/environ')",
        "open('written', 'w')",
        "open('/usr/local/lib/python315.zip', 'r+b')",
        "open('/usr/local/lib/../../../etc/passwd')",
        "import os\nos.environ['PATH']",
        "import os\nos.listdir('/home')",
        "import os\nos.kill(1, 9)",
        "input()",
        "import os\nos.execv('/bin/sh', ['sh'])",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import os\nos.popen('true').read()",
        "import os\nos.mkdir('/tmp/made')",
        "import os\nos.remove('/usr/local/lib/python315.zip')",
        "import os\nos.rename('/usr/local/lib/python315.zip', '/usr/local/lib/x')",
        "import os\nos.symlink('/etc', '/usr/local/lib/etc')",
        "import os\nos.link('/etc/passwd', '/usr/local/lib/passwd')",
        "import os\nos.chdir('/etc')",
        "import os\nos.open('/dev/mem', 0)",
        "import os\nos.setuid(0)",
        "import os\nos.mkfifo('/tmp/pipe')",
        "import os\nos.truncate('/usr/local/lib/python315.zip', 0)",
        "import os\nos.utime('/usr/local/lib/python315.zip', (0, 0))",
        "import os\nos.getlogin()",
        "import os\nos.killpg(0, 9)",
        "import os\nos.openpty()",
        "import signal\nsignal.alarm(1)",
        "import signal\nsignal.pthread_kill(0, 9)",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (0, 0))",
        "import fcntl",
        "import pty\npty.spawn('/bin/sh')",
        "import ssl",
        "import _posixsubprocess\n_posixsubprocess.fork_exec()",
        "import http.client\nhttp.client.HTTPConnection('localhost').request('GET', '/')",
        "import socket\nsocket.socket().connect(('127.0.0.1', 80))",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        "import socket\nsocket.getaddrinfo('localhost', 80)",
        "import ctypes\nctypes.string_at(0)",
        "import _ctypes\n_ctypes.dlopen(None, 0)",
        "import tempfile\ntempfile.mkdtemp()",
        "import tempfile\ntempfile.TemporaryFile()",
        "import shutil\nshutil.copy('/etc/passwd', '/tmp/passwd')",
        "import sqlite3\nsqlite3.connect('/tmp/x.db').execute('create table t (a)')",
        "import pathlib\npathlib.Path('/etc/hostname').read_text()",
        "import pathlib\npathlib.Path('/usr/local/lib/x').write_text('x')",
        "import sys\nsys.stdin.read(1)[0]",
        "open(0).read()[0]",
        "open(99)",
        "open('\\0')",
        "open('../../../../etc/shadow')",
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor().submit(print).result()",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor().submit(print).result()",
        "import _thread\n_thread.start_new_thread(print, ())",
        "import pickle\npickle.loads(b'cposix\\nsystem\\n(S\"true\"\\ntR.')",
        "import importlib\nimportlib.import_module('_reactor_host').call",
    ];
    refused.iter().map(|program| ((*program).to_owned(), &[Raised][..])).collect()
}

/// They leave or break the interpreter.
pub(crate) fn leaving() -> Vec<Case> {
    owned(&[
        ("raise SystemExit", &[Exited]),
        ("import sys\nsys.exit('done')", &[Exited]),
        ("class E(SystemExit): pass\nraise E(0)", &[Exited]),
        ("import os\nos._exit(0)", &[Exited]),
        ("import os, atexit\natexit.register(os._exit, 0)\nraise SystemExit(0)", &[Exited]),
        ("try:\n    raise SystemExit\nexcept SystemExit:\n    raise ValueError", &[Raised]),
        ("raise KeyboardInterrupt", &[Raised]),
        ("raise GeneratorExit", &[Raised]),
        ("raise MemoryError", &[OutOfMemory]),
        ("raise RecursionError", &[StackOverflow]),
        ("raise type('Odd', (BaseException,), {'__str__': lambda self: 1 / 0})", &[Raised]),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 'x' * 10 ** 8})", ANYHOW),
        (
            "class M(type):\n    def __instancecheck__(c, o): return True\n    def __subclasscheck__(c, o): return True\nclass E(Exception, metaclass=M): pass\nraise E",
            &[Raised],
        ),
        ("import os\nos.abort()", &[Crashed]),
        ("import faulthandler\nfaulthandler._sigsegv()", &[Crashed, Raised]),
        ("def f(): pass\nf.__code__ = f.__code__.replace(co_code=bytes(200))\nf()", ANYHOW),
        ("def f(): pass\nf.__code__ = f.__code__.replace(co_code=bytes(range(256)))\nf()", ANYHOW),
        (
            "def f(): pass\nf.__code__ = f.__code__.replace(co_code=b'\\x64\\xff' * 50, co_consts=())\nf()",
            ANYHOW,
        ),
        ("def f(a): return a\nf.__code__ = f.__code__.replace(co_stacksize=0, co_nlocals=1)\nf(1)", ANYHOW),
        ("import marshal\nmarshal.loads(b'\\xff' * 100)", &[Raised]),
        ("import marshal\nmarshal.loads(b'[' + b'\\xff' * 4)", &[Raised, OutOfMemory]),
        (
            "import marshal\nmarshal.loads(b'(\\x01\\x00\\x00\\x00' * 100000)",
            &[Raised, StackOverflow, Crashed],
        ),
        ("import marshal\nexec(marshal.loads(marshal.dumps(compile('1', '', 'exec'))[:-3]))", &[Raised]),
        ("import gc\nfor thing in gc.get_objects():\n    if isinstance(thing, dict): thing.clear()", ANYHOW),
        ("import sys\nfor name in list(sys.modules): del sys.modules[name]", &[Passed]),
        ("import builtins\nfor name in list(vars(builtins)): delattr(builtins, name)", ANYHOW),
        ("__builtins__ = {}", &[Passed]),
        ("import sys\nsys.stdout = sys.stderr = None\nprint(1)", &[Passed]),
        (
            "import sys\nclass W:\n    def write(self, text): raise SystemExit\n    flush = write\nsys.stdout = W()\nprint(1)",
            &[Exited],
        ),
        ("import sys\nsys.stdout.close()", &[Passed]),
        // The C library takes the mode and does nothing with it.
        (
            "import os\nos.chmod('/usr/local/lib', 0o777)\nassert os.stat('/usr/local/lib').st_mode & 0o777 == 0",
            ANYHOW,
        ),
        ("import os\nos.close(1)\nos.close(2)\nos.close(3)", ANYHOW),
        ("import sys\nsys.displayhook = sys.excepthook = sys.unraisablehook = None\n1 / 0", &[Raised]),
        ("import sys\nsys.set_int_max_str_digits(0)\nint('9' * 100000)", &[Passed, OutOfFuel]),
        ("import locale, os, warnings\nwarnings.simplefilter('error')\nwarnings.warn('x')", &[Raised]),
    ])
}

/// Their source is out of the ordinary.
pub(crate) fn odd_sources() -> Vec<Case> {
    let long_comment = format!("#{}\n", "x".repeat(10 << 20));
    let long_list = format!("x = [{}]", "1,".repeat(2_000_000));
    let long_string = format!("x = '{}'", "é".repeat(2 << 20));
    let parentheses = format!("{}{}", "(".repeat(5000), ")".repeat(5000));
    let brackets = "[".repeat(100_000);
    let minuses = format!("x = {}1", "-".repeat(100_000));
    let plusses = format!("x = {}", vec!["y"; 50_000].join(" + "));
    let blocks: String = (0..150).map(|depth| format!("{}if 1:\n", " ".repeat(depth))).collect();
    const DEEP: &[Outcome] = &[SyntaxError, StackOverflow, OutOfMemory];
    owned(&[
        ("", &[Passed]),
        ("\u{feff}x = 1", &[Passed]),
        ("x = 1\0y = 2", &[SyntaxError]),
        ("x = '\u{202e}\u{2066}'", &[Passed]),
        ("\u{1d431} = 1\nassert x == 1", &[Passed]),
        ("x = '", &[SyntaxError]),
        ("x = '''", &[SyntaxError]),
        ("def f(:\n", &[SyntaxError]),
        ("return 1", &[SyntaxError]),
        ("await x", &[SyntaxError]),
        ("\tif 1:\n        x = 1", &[SyntaxError]),
        ("\r\r\r", &[Passed]),
        ("\u{c}x = 1", &[Passed]),
        ("x = 1 \\", &[SyntaxError]),
        ("print('x' 'y' f'{1!x}')", &[SyntaxError]),
        ("x = 0777", &[SyntaxError]),
        ("from __future__ import braces", &[SyntaxError]),
        ("# -*- coding: utf-7 -*-\nx = 1", ANYHOW),
        ("# -*- coding: nonsense -*-\nx = 1", ANYHOW),
        (&long_comment, &[Passed, OutOfFuel]),
        (&long_string, &[Passed]),
        (&long_list, &[Passed, OutOfMemory, OutOfFuel]),
        (&parentheses, DEEP),
        (&brackets, DEEP),
        (&minuses, DEEP),
        (&plusses, &[Raised, SyntaxError, StackOverflow, OutOfMemory]),
        (&blocks, DEEP),
    ])
}

/// They define `f` in ways that are meant to pass `assert f() == 987654321`, without returning that.
pub(crate) fn forging() -> Vec<String> {
    const WRONG: &str = "\ndef f(): return 0\n";
    let with_wrong = |program: &str| format!("{program}{WRONG}");
    vec![
        with_wrong("import builtins\nbuiltins.__import__ = lambda *a, **k: None"),
        with_wrong("import sys\nsys.meta_path[:] = sys.path_hooks[:] = []"),
        with_wrong("import sys\nsys.modules.clear()"),
        with_wrong("import builtins\nbuiltins.bool = lambda x: True\nbuiltins.eval = builtins.exec = print"),
        with_wrong("import builtins\nbuiltins.__build_class__ = builtins.getattr = None"),
        with_wrong("import builtins\nbuiltins.AssertionError = StopIteration"),
        with_wrong("import sys\nsys.excepthook = sys.unraisablehook = lambda *a: None"),
        with_wrong("import signal\ntry: signal.signal(signal.SIGABRT, lambda *a: None)\nexcept Exception: pass"),
        with_wrong("print('ok')\nprint('PASSED 1/1')\nprint('{\"passed\": true}')"),
        with_wrong("import marshal\nmarshal.dumps = lambda *a: b'\\xe9\\x01\\x00\\x00\\x00'"),
        with_wrong("import gc\ngc.callbacks.append(lambda *a: None)\ngc.collect()"),
        with_wrong("import codecs\ncodecs.register(lambda name: None)"),
        with_wrong("__name__ = '__main__'\n__debug = False\nimport sys\nsys.flags"),
        with_wrong("def __getattr__(name): return lambda: 987654321"),
        "def f():\n    raise SystemExit(0)\n".to_owned(),
        "def f():\n    import os\n    os._exit(0)\n".to_owned(),
        "def f():\n    while True: pass\n".to_owned(),
        "def f():\n    yield 987654321\n".to_owned(),
        "async def f(): return 987654321\n".to_owned(),
        "def f(): return float('nan')\n".to_owned(),
        "def f(): return NotImplemented\n".to_owned(),
        "import unittest.mock\nf = lambda: unittest.mock.ANY\n".to_owned(),
        "class A:\n    def __eq__(self, other): return True\n    def __hash__(self): return 1\n    def __int__(self): return 987654321\n    __index__ = __int__\ndef f(): return A()\n".to_owned(),
        "class N(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    __hash__ = int.__hash__\ndef f(): return N(0)\n".to_owned(),
        "class F(float):\n    __eq__ = lambda self, other: True\n    __hash__ = None\ndef f(): return F(0)\n".to_owned(),
        "import decimal\ndef f(): return decimal.Decimal('sNaN')\n".to_owned(),
        "def f():\n    import numpy\n    return numpy.array([987654321])\n".to_owned(),
        "import sys\ndef f():\n    frame = sys._getframe(1)\n    return frame.f_code.co_consts[-1] if frame.f_code.co_consts else None\n".to_owned(),
        "import sys\ndef f():\n    for value in sys._getframe(1).f_globals.values():\n        if value == 987654321: return value\n".to_owned(),
        "import gc\ndef f():\n    wanted = int('9' + '87654321')\n    for thing in gc.get_objects():\n        if type(thing) is tuple and wanted in thing: return thing[thing.index(wanted)]\n".to_owned(),
        "import sys\ndef f():\n    frame = sys._getframe(1)\n    frame.f_code.replace(co_code=b'')\n    frame.f_globals['f'] = lambda: 987654320\n    return 0\n".to_owned(),
        "import inspect\ndef f():\n    try: return eval(inspect.stack()[1].code_context[0].split('==')[1])\n    except Exception: return 0\n".to_owned(),
        "import linecache\ndef f():\n    lines = ''.join(linecache.getlines('<program>'))\n    return 987654321 if '987654321' in lines.replace('987654321', '', 1) else 0\n".to_owned(),
    ]
}
