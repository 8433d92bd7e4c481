//! What it takes to compile and run programs in a language, found on this host.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::InfraError;

/// A language whose programs run as native processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// C, by `cc`.
    C,
    /// C++, by `c++` or `g++`.
    Cpp,
    /// Rust, by `rustc`.
    Rust,
    /// Go, by `go`.
    Go,
    /// Java, by `javac` and `java`. The class with the `main` method is named `Main`.
    Java,
    /// JavaScript, by `node`.
    JavaScript,
    /// TypeScript, by `tsc` and `node`, or by a `node` that strips types itself (22.18 or newer).
    TypeScript,
    /// Python, by the host's `python3` with the packages that are installed for it.
    Python,
}

/// How programs in a language are compiled and run on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The language.
    pub language: Language,
    /// Name of the file that the source is in.
    pub file: String,
    /// Command that compiles it; absent where there is nothing to compile.
    pub compile: Option<Vec<String>>,
    /// Command that runs it. `{memory_mib}` stands for the memory limit.
    pub run: Vec<String>,
    /// Variables beside the usual ones.
    pub environment: Vec<(String, String)>,
    /// Folders of the host that it reads, beside the system's.
    pub folders: Vec<PathBuf>,
    /// Whether it reserves more address space than it uses, so that the kernel cannot bound that.
    pub reserves: bool,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 8] = [
        Self::C,
        Self::Cpp,
        Self::Rust,
        Self::Go,
        Self::Java,
        Self::JavaScript,
        Self::TypeScript,
        Self::Python,
    ];

    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Rust => "Rust",
            Self::Go => "Go",
            Self::Java => "Java",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Python => "Python",
        }
    }
}

impl Toolchain {
    /// Looks for what the language takes on `PATH`. Trusts what it finds there: it is asked where its own files are.
    ///
    /// # Errors
    ///
    /// If something is missing; says what to install.
    pub fn find(language: Language) -> Result<Self, InfraError> {
        match language {
            Language::C => compiled(language, &["cc", "gcc", "clang"], "main.c", "apt install gcc"),
            Language::Cpp => compiled(language, &["c++", "g++", "clang++"], "main.cpp", "apt install g++"),
            Language::Rust => rust(),
            Language::Go => go(),
            Language::Java => java(),
            Language::JavaScript => node(language),
            Language::TypeScript => typescript(),
            Language::Python => python(),
        }
    }

    fn new(language: Language, file: &str, run: &[&str]) -> Self {
        Self {
            language,
            file: file.to_owned(),
            compile: None,
            run: strings(run),
            environment: Vec::new(),
            folders: Vec::new(),
            reserves: false,
        }
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn missing(language: Language, wanted: &str, remedy: &'static str) -> InfraError {
    InfraError::MissingToolchain { language: language.name(), wanted: format!("`{wanted}` on PATH"), remedy }
}

/// The first of these programs that is on `PATH`.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let mut candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|candidate| {
        nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok() && candidate.is_file()
    })
}

/// What a program of the host prints, without the space around it; `None` if it fails.
fn asked(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The path with its links followed, and the folder two above it, which holds a toolchain as a whole.
fn home_of(program: &Path) -> Option<(String, PathBuf)> {
    let real = fs_err::canonicalize(program).ok()?;
    let home = real.parent()?.parent()?.to_path_buf();
    Some((real.display().to_string(), home))
}

fn is_of_system(folder: &Path) -> bool {
    folder.starts_with("/usr") || folder == Path::new("/")
}

fn add_folder(toolchain: &mut Toolchain, folder: PathBuf) {
    if !is_of_system(&folder) && !toolchain.folders.contains(&folder) {
        toolchain.folders.push(folder);
    }
}

/// C and C++: the compiler is the whole toolchain.
fn compiled(
    language: Language,
    names: &[&str],
    file: &str,
    remedy: &'static str,
) -> Result<Toolchain, InfraError> {
    let found = on_path(names).ok_or_else(|| missing(language, names[0], remedy))?;
    let (compiler, home) = home_of(&found).ok_or_else(|| missing(language, names[0], remedy))?;
    let source = format!("/program/{file}");
    let mut toolchain = Toolchain::new(language, file, &["/program/main"]);
    toolchain.compile = Some(strings(&[&compiler, "-O2", "-pthread", "-o", "/program/main", &source, "-lm"]));
    add_folder(&mut toolchain, home);
    Ok(toolchain)
}

fn rust() -> Result<Toolchain, InfraError> {
    let language = Language::Rust;
    let remedy = "install Rust from https://rustup.rs, and a C compiler for its linker";
    let rustc = on_path(&["rustc"]).ok_or_else(|| missing(language, "rustc", remedy))?;
    let linker = on_path(&["cc"]).ok_or_else(|| missing(language, "cc", remedy))?;
    // What is on the path may be rustup's, which only knows where the compiler is.
    let home = asked(&rustc, &["--print", "sysroot"]).ok_or_else(|| missing(language, "rustc", remedy))?;
    let compiler = format!("{home}/bin/rustc");
    let linker = format!("linker={}", linker.display());
    let mut toolchain = Toolchain::new(language, "main.rs", &["/program/main"]);
    let arguments =
        [&compiler, "--edition=2024", "-O", "-Cdebuginfo=0", "-C", &linker, "-o", "/program/main"];
    toolchain.compile = Some(strings(&arguments.map(|text| text as &str)));
    toolchain.compile.get_or_insert_default().push("/program/main.rs".to_owned());
    add_folder(&mut toolchain, PathBuf::from(home));
    Ok(toolchain)
}

fn go() -> Result<Toolchain, InfraError> {
    let language = Language::Go;
    let remedy = "apt install golang-go, or see https://go.dev/dl";
    let go = on_path(&["go"]).ok_or_else(|| missing(language, "go", remedy))?;
    let home = asked(&go, &["env", "GOROOT"]).ok_or_else(|| missing(language, "go", remedy))?;
    let mut toolchain = Toolchain::new(language, "main.go", &["/program/main"]);
    let go = format!("{home}/bin/go");
    toolchain.compile = Some(strings(&[&go, "build", "-o", "/program/main", "/program/main.go"]));
    for (name, value) in [
        ("GOROOT", home.as_str()),
        ("GOCACHE", "/tmp/cache"),
        ("GOPATH", "/tmp/path"),
        ("GO111MODULE", "off"),
        ("GOPROXY", "off"),
        ("CGO_ENABLED", "0"),
        ("GOTOOLCHAIN", "local"),
    ] {
        toolchain.environment.push((name.to_owned(), value.to_owned()));
    }
    add_folder(&mut toolchain, PathBuf::from(home));
    toolchain.reserves = true;
    Ok(toolchain)
}

fn java() -> Result<Toolchain, InfraError> {
    let language = Language::Java;
    let remedy = "apt install default-jdk-headless";
    let javac = on_path(&["javac"]).ok_or_else(|| missing(language, "javac", remedy))?;
    let (javac, home) = home_of(&javac).ok_or_else(|| missing(language, "javac", remedy))?;
    let java = home.join("bin/java").display().to_string();
    // One processor's worth of threads: the bound on processes counts them.
    let modest = ["-XX:+UseSerialGC", "-XX:ActiveProcessorCount=1", "-XX:-UsePerfData", "-Xshare:auto"];
    let mut run = vec![java.as_str()];
    run.extend(modest);
    run.extend(["-Xss8m", "-Xmx{memory_mib}m", "-XX:+ExitOnOutOfMemoryError", "-cp", "/program", "Main"]);
    let mut toolchain = Toolchain::new(language, "Main.java", &run);
    let mut compile = vec![javac];
    compile.extend(modest.iter().map(|option| format!("-J{option}")));
    compile.extend(strings(&["-encoding", "UTF-8", "-d", "/program", "/program/Main.java"]));
    toolchain.compile = Some(compile);
    // Debian keeps what a JDK is configured by apart from it.
    for folder in ["conf", "lib/security"] {
        let links = fs_err::read_dir(home.join(folder)).into_iter().flatten();
        let targets = links.filter_map(|entry| fs_err::canonicalize(entry.ok()?.path()).ok());
        for target in targets.filter(|target| target.starts_with("/etc")) {
            let folder: PathBuf = target.components().take(3).collect();
            add_folder(&mut toolchain, folder);
        }
    }
    add_folder(&mut toolchain, home);
    toolchain.reserves = true;
    Ok(toolchain)
}

fn node(language: Language) -> Result<Toolchain, InfraError> {
    let remedy = "apt install nodejs, or see https://nodejs.org";
    let found = on_path(&["node"]).ok_or_else(|| missing(language, "node", remedy))?;
    let (node, home) = home_of(&found).ok_or_else(|| missing(language, "node", remedy))?;
    let options = ["--max-old-space-size={memory_mib}", "--v8-pool-size=1", "/program/main.js"];
    let mut toolchain = Toolchain::new(language, "main.js", &[&[node.as_str()], options.as_slice()].concat());
    toolchain.compile = Some(strings(&[&node, "--check", "/program/main.js"]));
    // Node would try io_uring, which is refused and counted.
    toolchain.environment.push(("UV_USE_IO_URING".to_owned(), "0".to_owned()));
    toolchain.environment.push(("UV_THREADPOOL_SIZE".to_owned(), "1".to_owned()));
    add_folder(&mut toolchain, home);
    toolchain.reserves = true;
    Ok(toolchain)
}

fn typescript() -> Result<Toolchain, InfraError> {
    let language = Language::TypeScript;
    let remedy = "npm install --global typescript, or install Node.js 22.18 or newer";
    let mut toolchain = node(language)?;
    toolchain.file = "main.ts".to_owned();
    if let Some(tsc) = on_path(&["tsc"])
        && let Some((tsc, home)) = home_of(&tsc)
    {
        let node = toolchain.run[0].clone();
        let options =
            ["--target", "es2022", "--module", "commonjs", "--outDir", "/program", "/program/main.ts"];
        toolchain.compile = Some([vec![node, tsc], strings(&options)].concat());
        add_folder(&mut toolchain, home);
        return Ok(toolchain);
    }
    let version = asked(Path::new(&toolchain.run[0]), &["--version"]).unwrap_or_default();
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (22, 18) {
        return Err(missing(language, "tsc", remedy));
    }
    let last = toolchain.run.len() - 1;
    toolchain.run[last] = "/program/main.ts".to_owned();
    toolchain.compile = None;
    Ok(toolchain)
}

fn python() -> Result<Toolchain, InfraError> {
    let language = Language::Python;
    let remedy = "apt install python3";
    let python = on_path(&["python3"]).ok_or_else(|| missing(language, "python3", remedy))?;
    // What is on the path may be a script of a version manager; in a virtual environment the packages are apart from the rest.
    let question = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, *sys.path, sep='\\n')";
    let answer =
        asked(&python, &["-I", "-c", question]).ok_or_else(|| missing(language, "python3", remedy))?;
    let mut lines = answer.lines();
    let executable = lines.next().unwrap_or_default();
    let mut toolchain = Toolchain::new(language, "main.py", &[executable, "-I", "-B", "/program/main.py"]);
    for folder in lines.map(Path::new).filter(|folder| folder.is_dir()) {
        if !toolchain.folders.iter().any(|known| folder.starts_with(known)) {
            add_folder(&mut toolchain, folder.to_path_buf());
        }
    }
    for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        toolchain.environment.push((name.to_owned(), "1".to_owned()));
    }
    Ok(toolchain)
}
