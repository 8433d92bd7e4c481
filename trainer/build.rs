//! Tells the linker where libtorch is, so that no user has to export `LD_LIBRARY_PATH`, and the program where the
//! repository keeps what `scripts/fetch.py` fetched.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    let manifest_folder =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let repository = manifest_folder.parent().expect("the crate is a folder of the repository");
    println!("cargo::rustc-env=RLTRAIN_DEPS={}", repository.join(".deps").display());

    embed_page_libraries(&repository.join(".deps/page"));

    // torch-sys publishes where it found libtorch; cargo passes it on only to crates that depend on torch-sys directly.
    let libtorch =
        PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB").expect("torch-sys publishes its libtorch folder"));
    link_libtorch(&libtorch);
    compile_collectives(&libtorch);
}

/// Tells `report/page.rs` where the libraries of the report's page are, which are compiled into the program.
///
/// # Panics
///
/// If they were not fetched: cargo shows the message.
fn embed_page_libraries(folder: &Path) {
    println!("cargo::rustc-env=RLTRAIN_PAGE_LIBRARIES={}", folder.display());
    for file in ["uPlot.iife.min.js", "uPlot.min.css", "highlight.min.js"] {
        let path = folder.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        assert!(path.exists(), "`{}` is missing: run `python3 scripts/fetch.py page`", path.display());
    }
}

/// Records the folder in the executables, and keeps the CUDA half of libtorch where there is one: it registers its
/// kernels when it is loaded, no symbol of it is referenced, and the linker would drop it.
fn link_libtorch(folder: &Path) {
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    if folder.join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state");
    }
}

/// Compiles the C interfaces to PyTorch's collectives and to gradients, with NCCL where libtorch has it and its header is found.
///
/// # Panics
///
/// If it does not compile: cargo shows the compiler's message.
fn compile_collectives(libtorch: &Path) {
    let source = Path::new("src/ranks");
    for file in ["c10d.cpp", "gloo_interface"] {
        println!("cargo::rerun-if-changed={}", source.join(file).display());
    }
    let include = libtorch.parent().expect("libtorch's libraries are in a folder of it").join("include");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").warnings(false).opt_level(1).debug(false);
    build.flag("-isystem").flag(source.join("gloo_interface")).flag("-isystem").flag(&include);
    build.flag("-isystem").flag(include.join("torch/csrc/api/include"));
    println!("cargo::rerun-if-env-changed=RLTRAIN_NCCL_INCLUDE");
    // The header comes with the wheel `nvidia-nccl-cu13`, CUDA's with `nvidia-cuda-runtime`.
    if let (true, Some(nccl)) =
        (libtorch.join("libtorch_cuda.so").exists(), env::var_os("RLTRAIN_NCCL_INCLUDE"))
    {
        for folder in env::split_paths(&nccl) {
            build.flag("-isystem").flag(folder);
        }
        build.define("RLTRAIN_NCCL", None);
    }
    let gradient = Path::new("src/policy/gradient.cpp");
    println!("cargo::rerun-if-changed={}", gradient.display());
    build.file(source.join("c10d.cpp")).file(gradient).compile("rltrain_c10d");
}
