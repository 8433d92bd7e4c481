#[test]
fn scratch() {
    use crate::*;
    let files = RuntimeFiles::in_folder(std::path::Path::new("../.deps"));
    let t = std::time::Instant::now();
    let p = ModuleCache::of_user().unwrap().prepare(Runtime::Python315, &files, &mut |m| println!("{m}")).unwrap();
    println!("prepare {:?}", t.elapsed());
    std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let engine = engine::engine().unwrap();
        let t = std::time::Instant::now();
        let module = unsafe { wasmtime::Module::deserialize_file(&engine, &p.module) }.unwrap();
        let pre = shim::linker(&engine, &module).unwrap().instantiate_pre(&module).unwrap();
        println!("load {:?}", t.elapsed());
        let stdlib = std::sync::Arc::new(std::fs::read(&p.stdlib).unwrap());
        let mut judge = judge::Judge::new(pre, stdlib);
        for (program, tests) in [
            ("def f(x):\n    return x + 1\n", vec!["assert f(1) == 2", "assert f(1) == 3", "assert f(1) < 3", "assert f('a') == 3", "f(", "assert f(2) == (3"]),
            ("def f(x):\n    return x + 1\n", vec!["assert f(1) == 2"]),
            ("import sys\nprint('hi', sys.maxsize)\nfrom typing import List\nimport collections, math, re\ndef f(x: List): return collections.Counter(x)", vec!["assert f('aab') == {'a': 2, 'b': 1}"]),
            ("import sys\nsys.exit(0)", vec!["assert True"]),
            ("import os\nos._exit(0)", vec!["assert True"]),
            ("while True: pass", vec!["assert True"]),
        ] {
            for _ in 0..2 {
            let t = std::time::Instant::now();
            let v = judge.judge(&Job { program: program.into(), tests: tests.iter().map(|s| s.to_string()).collect(), limits: Limits::default() });
            println!("{:?} {v:?}", t.elapsed());
            }
        }
    }).unwrap().join().unwrap();
}
