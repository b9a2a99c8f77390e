//! Installs the C library: `cargo build --release -p nixlang-ffi -p nixlang-build && target/release/nixlang-ffi-install PREFIX`.
//!
//! What goes where: `lib/libnixlang.so.1`, `lib/libnixlang.a`, `libexec/nixlang-build-helper`, `include/nixlang.h` and its parts, `lib/pkgconfig/nixlang.pc`,
//! `lib/cmake/nixlang/`. With `--nix-c-api` also what programs written for the Nix C API look for: links of the six libraries' names, their headers and `.pc`
//! files. That is only on request, since it would hide a real Nix in the same prefix.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The version of Nix whose C API this is.
const NIX_VERSION: &str = "2.34.8";
/// The reference's libraries: pkg-config name, library, what it needs.
const LIBRARIES: [(&str, &str, &str); 6] = [
    ("nix-util-c", "nixutilc", ""),
    ("nix-store-c", "nixstorec", "nix-util-c"),
    ("nix-expr-c", "nixexprc", "nix-store-c nix-util-c"),
    ("nix-fetchers-c", "nixfetchersc", "nix-expr-c nix-store-c nix-util-c"),
    ("nix-flake-c", "nixflakec", "nix-fetchers-c nix-expr-c nix-store-c nix-util-c"),
    ("nix-main-c", "nixmainc", "nix-store-c nix-util-c"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, paths): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|argument| argument.starts_with("--"));
    let is_known = |flag: &&&String| flag.as_str() != "--nix-c-api";
    let ([prefix], None) = (&paths[..], flags.iter().find(is_known)) else {
        eprintln!("usage: nixlang-ffi-install [--nix-c-api] PREFIX");
        return ExitCode::from(2);
    };
    match install(Path::new(prefix), !flags.is_empty()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn install(prefix: &Path, with_nix_c_api: bool) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let built = program.parent().ok_or("this program lies in no directory")?;
    let prefix = std::path::absolute(prefix).map_err(|error| error.to_string())?;
    let lib = prefix.join("lib");
    copy(&built.join("libnixlang_ffi.so"), &lib.join("libnixlang.so.1"))?;
    link("libnixlang.so.1", &lib.join("libnixlang.so"))?;
    if built.join("libnixlang_ffi.a").exists() {
        copy(&built.join("libnixlang_ffi.a"), &lib.join("libnixlang.a"))?;
    }
    let helper = built.join("nixlang-build-helper");
    if helper.exists() {
        copy(&helper, &prefix.join("libexec/nixlang-build-helper"))?;
    } else {
        eprintln!("note: without 'nixlang-build-helper' nothing can be built; `cargo build -p nixlang-build` makes it");
    }
    let headers = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    for name in ["nixlang.h", "nixlang.hpp"] {
        copy(&headers.join(name), &prefix.join("include").join(name))?;
    }
    copy_all(&headers.join("nixlang"), &prefix.join("include/nixlang"))?;
    // Files that say where they are, so that the whole may be moved.
    let pc = |name: &str, version: &str, requires: &str, library: &str, cflags: &str, private: &str| {
        format!(
            "prefix=${{pcfiledir}}/../..\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\nName: {name}\nDescription: Nix as a library\nVersion: {version}\n\
             Requires: {requires}\nLibs: {library}\nLibs.private: {private}\nCflags: {cflags}\n"
        )
    };
    let version = env!("CARGO_PKG_VERSION");
    write(&lib.join("pkgconfig/nixlang.pc"), &pc("nixlang", version, "", "-L${libdir} -lnixlang", "-I${includedir}", SYSTEM_LIBRARIES))?;
    let has_archive = lib.join("libnixlang.a").exists();
    if has_archive {
        let libraries = format!("${{libdir}}/libnixlang.a {SYSTEM_LIBRARIES}");
        write(&lib.join("pkgconfig/nixlang-static.pc"), &pc("nixlang-static", version, "", &libraries, "-I${includedir}", ""))?;
    }
    write(&lib.join("cmake/nixlang/nixlang-config.cmake"), &cmake_config(has_archive))?;
    write(&lib.join("cmake/nixlang/nixlang-config-version.cmake"), &cmake_version(version))?;
    if !with_nix_c_api {
        return Ok(());
    }
    copy_all(&headers.join("nix"), &prefix.join("include/nix"))?;
    for (name, library, requires) in LIBRARIES {
        link("libnixlang.so.1", &lib.join(format!("lib{library}.so")))?;
        link("libnixlang.so.1", &lib.join(format!("lib{library}.so.{NIX_VERSION}")))?;
        write(&lib.join(format!("pkgconfig/{name}.pc")), &pc(name, NIX_VERSION, requires, &format!("-L${{libdir}} -l{library}"), "-I${includedir}/nix", ""))?;
    }
    Ok(())
}

/// What the library needs of the system where it is linked statically.
const SYSTEM_LIBRARIES: &str = "-lpthread -ldl -lm";

/// Returns the file that CMake's `find_package(nixlang)` reads: targets `nixlang::nixlang` and, with the archive, `nixlang::static`.
fn cmake_config(has_archive: bool) -> String {
    let mut text = "get_filename_component(_nixlang_prefix \"${CMAKE_CURRENT_LIST_DIR}/../../..\" ABSOLUTE)\n\
        if(NOT TARGET nixlang::nixlang)\n\
        \x20 add_library(nixlang::nixlang SHARED IMPORTED)\n\
        \x20 set_target_properties(nixlang::nixlang PROPERTIES IMPORTED_LOCATION \"${_nixlang_prefix}/lib/libnixlang.so.1\"\n\
        \x20   IMPORTED_SONAME libnixlang.so.1 INTERFACE_INCLUDE_DIRECTORIES \"${_nixlang_prefix}/include\")\n\
        endif()\n"
        .to_owned();
    if has_archive {
        text.push_str(
            "if(NOT TARGET nixlang::static)\n\
             \x20 add_library(nixlang::static STATIC IMPORTED)\n\
             \x20 set_target_properties(nixlang::static PROPERTIES IMPORTED_LOCATION \"${_nixlang_prefix}/lib/libnixlang.a\"\n\
             \x20   INTERFACE_INCLUDE_DIRECTORIES \"${_nixlang_prefix}/include\" INTERFACE_LINK_LIBRARIES \"pthread;dl;m\")\n\
             endif()\n",
        );
    }
    text
}

/// Returns the file by which CMake judges `find_package(nixlang VERSION)`: the same first number that is not 0, and nothing newer.
fn cmake_version(version: &str) -> String {
    format!(
        "set(PACKAGE_VERSION \"{version}\")\n\
         if(NOT PACKAGE_FIND_VERSION_MAJOR STREQUAL \"{}\" OR PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)\n\
         \x20 set(PACKAGE_VERSION_COMPATIBLE FALSE)\n\
         else()\n\
         \x20 set(PACKAGE_VERSION_COMPATIBLE TRUE)\n\
         endif()\n",
        version.split('.').next().unwrap_or(version)
    )
}

fn make_parent(path: &Path) -> Result<(), String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    make_parent(to)?;
    // A library that a running program has mapped must not change under it.
    let _ = fs::remove_file(to);
    fs::copy(from, to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries.flatten() {
        let (path, target): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy_all(&path, &target)? } else { copy(&path, &target)? }
    }
    Ok(())
}

fn link(target: &str, at: &Path) -> Result<(), String> {
    let _ = fs::remove_file(at);
    symlink(target, at).map_err(|error| format!("{}: {error}", at.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    make_parent(path)?;
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
