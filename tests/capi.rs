//! The C ABI from outside: headers, symbols, prototypes, the examples in five languages, memory checkers, and the Nix C API's functions from C.
//!
//! The library is installed into a scratch directory by its own installer, once. Compilers, languages and checkers that this machine lacks are skipped, which
//! each test says. `NIX_UPSTREAM_SRC` names a checkout of the reference whose headers ours are compared with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use nixlang_tests::{files, repository};

/// Where the library is installed.
static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = std::env::current_exe().expect("this program").parent().and_then(Path::parent).expect("it lies in deps/").to_owned();
    let profile: &[&str] = if target.ends_with("release") { &["--release"] } else { &[] };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(repository()).args(["build", "-q", "-p", "nixlang-ffi", "-p", "nixlang-build"]).args(profile);
    nixlang_tests::without_cargo_variables(&mut build);
    assert!(build.status().expect("cargo runs").success(), "the library builds");
    let prefix = target.join("capi-prefix");
    let installed = Command::new(target.join("nixlang-ffi-install")).arg("--nix-c-api").arg(&prefix).status().expect("the installer runs");
    assert!(installed.success(), "the library is installed");
    prefix
});

/// Whether a program is there.
fn has(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|directory| directory.join(program).is_file())
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Our headers below `include/`.
fn headers() -> Vec<PathBuf> {
    let include = repository().join("ffi/include");
    let mut found: Vec<PathBuf> = files(&include, ".h").into_iter().map(|path| path.strip_prefix(&include).expect("below it").to_owned()).collect();
    found.sort();
    found
}

#[test]
fn headers_compile_alone_and_twice() {
    let directory = scratch();
    let mut n_compiled = 0;
    let c = [("gcc", "c11"), ("gcc", "c17"), ("clang", "c11"), ("clang", "c17")];
    let cpp = [("g++", "c++17"), ("g++", "c++20"), ("clang++", "c++17"), ("clang++", "c++20")];
    for (compiler, standard) in c.into_iter().chain(cpp) {
        if !has(compiler) {
            eprintln!("skipped: {compiler} -std={standard} (not installed)");
            continue;
        }
        let is_cpp = standard.starts_with("c++");
        let hpp = is_cpp.then(|| PathBuf::from("nixlang.hpp"));
        for header in headers().into_iter().chain(hpp) {
            let source = directory.path().join(if is_cpp { "twice.cc" } else { "twice.c" });
            let include = format!("#include \"{}\"\n", header.display());
            fs::write(&source, format!("{include}{include}int main(void) {{ return 0; }}\n")).expect("written");
            let output = Command::new(compiler)
                .args([&format!("-std={standard}"), "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"])
                .arg(format!("-I{}", repository().join("ffi/include").display()))
                .arg(&source)
                .output()
                .expect("the compiler runs");
            assert!(output.status.success(), "{compiler} -std={standard} {}: {}", header.display(), said(&output));
            n_compiled += 1;
        }
    }
    assert!(n_compiled > 0, "no C compiler is installed");
}

/// What each header of the own API must say once for all functions, or at each.
#[test]
fn headers_are_the_manual() {
    let include = repository().join("ffi/include");
    let manual = fs::read_to_string(include.join("nixlang.h")).expect("a header");
    for topic in ["Threads", "Ownership", "Strings", "Errors", "Callbacks", "Structures"] {
        assert!(manual.lines().any(|line| line.trim_start_matches([' ', '*']).starts_with(topic)), "nixlang.h says nothing of {topic}");
    }
    let mut undocumented = Vec::new();
    let mut n_functions = 0;
    for path in files(&include.join("nixlang"), ".h") {
        let text = fs::read_to_string(&path).expect("a header");
        // Whether the block of lines that this one is in, up to a blank line, began with a comment.
        let (mut is_documented, mut is_comment, mut depth) = (false, false, 0_i32);
        for line in text.lines() {
            let starts = line.starts_with("/*");
            is_comment = (is_comment || starts) && !is_comment_end(line, starts);
            is_documented = !line.trim().is_empty() && (is_documented || starts);
            let is_outside = depth == 0;
            if !line.starts_with("extern") {
                let brackets = |bracket| i32::try_from(line.matches(bracket).count()).expect("few");
                depth = (depth + brackets('{') - brackets('}')).max(0);
            }
            let is_code = is_outside && !starts && !is_comment && !line.starts_with([' ', '#', '}']);
            let name = line.split('(').next().and_then(|before| before.rsplit([' ', '*']).next()).unwrap_or_default();
            if !(is_code && line.contains('(') && name.starts_with("nixlang_")) {
                continue;
            }
            n_functions += 1;
            // What frees is said of all of them at once.
            if !is_documented && !name.ends_with("_free") {
                undocumented.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(n_functions > 90, "only {n_functions} functions were found");
    assert!(undocumented.is_empty(), "without a comment: {undocumented:#?}");
}

/// Whether a comment that reaches this line ends in it.
fn is_comment_end(line: &str, starts: bool) -> bool {
    line.get(if starts { 2 } else { 0 }..).is_some_and(|rest| rest.contains("*/"))
}

/// The functions that our headers declare.
fn declared() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for header in headers() {
        let text = fs::read_to_string(repository().join("ffi/include").join(header)).expect("a header");
        let mut code = String::new();
        for part in text.split("/*") {
            code.push_str(part.split_once("*/").map_or(part, |(_, after)| after));
        }
        for line in code.lines().filter(|line| !line.starts_with('#') && !line.starts_with("static") && !line.starts_with("    ")) {
            for (at, _) in line.match_indices('(') {
                let name = line[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if name.starts_with("nix") && !line.starts_with("typedef") {
                    found.insert(name.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn exported_symbols_are_the_declared_functions() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(PREFIX.join("lib/libnixlang.so.1")).output().expect("nm runs");
    let text = String::from_utf8(output.stdout).expect("names");
    let exported: BTreeSet<String> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    let hooks: BTreeSet<String> = exported.iter().filter(|name| name.starts_with("nixx_")).cloned().collect();
    assert!(hooks.is_empty(), "built with hooks for test suites: {hooks:?}");
    let declared = declared();
    assert!(declared.len() > 230, "only {} functions were found in the headers", declared.len());
    assert_eq!(exported.difference(&declared).collect::<Vec<_>>(), Vec::<&String>::new(), "exported, but in no header");
    assert_eq!(declared.difference(&exported).collect::<Vec<_>>(), Vec::<&String>::new(), "in a header, but not exported");
}

/// A prototype without what only looks different: two names of one type, and two ways to say "no arguments".
fn same(line: String) -> String {
    line.replace("(/* ??? */)", "(void)").replace("Value *", "nix_value *").replace("Externalnix_value", "ExternalValue")
}

/// The prototypes that a C file's headers declare, as gcc understands them.
fn prototypes(source: &str, include: &[PathBuf]) -> BTreeSet<String> {
    let directory = scratch();
    fs::write(directory.path().join("all.c"), source).expect("written");
    let mut gcc = Command::new("gcc");
    gcc.current_dir(directory.path()).args(["-std=gnu2x", "-fsyntax-only", "-aux-info", "out", "all.c"]);
    include.iter().for_each(|path| {
        gcc.arg(format!("-I{}", path.display()));
    });
    let output = gcc.output().expect("gcc runs");
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(directory.path().join("out")).expect("gcc wrote it");
    let lines = text.lines().filter_map(|line| line.split_once("*/ extern ")).map(|(_, prototype)| prototype.trim().to_owned());
    // Two names for one type.
    lines.filter(|line| line.contains(" nix_") || line.contains("*nix_")).map(same).collect()
}

#[test]
fn prototypes_are_the_references() {
    let Some(upstream) = std::env::var_os("NIX_UPSTREAM_SRC").map(PathBuf::from) else {
        eprintln!("skipped: NIX_UPSTREAM_SRC does not name a checkout of the reference");
        return;
    };
    if !has("gcc") {
        eprintln!("skipped: gcc is not installed");
        return;
    }
    let names = ["util", "store", "expr", "value", "external", "fetchers", "flake", "main"];
    let source: String = names.iter().map(|name| format!("#include \"nix_api_{name}.h\"\n")).collect();
    let theirs = ["util", "store", "expr", "fetchers", "flake", "main"].map(|library| upstream.join(format!("src/lib{library}-c")));
    let theirs = prototypes(&source, &theirs);
    let ours = prototypes(&source, &[repository().join("ffi/include/nix")]);
    assert!(theirs.len() >= 129, "only {} prototypes were found", theirs.len());
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new(), "the reference's that we lack or have differently");
}

/// Compiles a C or C++ file against the installed library.
fn compile(source: &Path, to: &Path, flags: &[&str]) -> Result<(), String> {
    let (compiler, standard) = if source.extension().is_some_and(|it| it == "c") { ("cc", "-std=c11") } else { ("c++", "-std=c++17") };
    if !has(compiler) {
        return Err(format!("{compiler} is not installed"));
    }
    let lib = PREFIX.join("lib");
    let output = Command::new(compiler)
        .args([standard, "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(to)
        .args([format!("-I{}", PREFIX.join("include").display()), format!("-I{}", PREFIX.join("include/nix").display())])
        .args([format!("-L{}", lib.display()), "-lnixlang".into(), "-lpthread".into(), format!("-Wl,-rpath,{}", lib.display())])
        .output()
        .map_err(|error| error.to_string())?;
    assert!(output.status.success(), "{}: {}", source.display(), said(&output));
    Ok(())
}

/// Runs an example and compares what it says with what it must say. More lines at the end are fine.
fn check_example(mut command: Command, name: &str) {
    let directory = scratch();
    let expected = fs::read_to_string(repository().join("tests/capi/expected").join(name)).expect("each example has its expectation");
    command.env("HOME", directory.path()).env_remove("NIX_PATH");
    if name == "build_with_progress" {
        command.arg(directory.path().join("store"));
    }
    let output = command.output().expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with(&expected), "{command:?}: {}", said(&output));
    // Stores make their directories read-only.
    let _ = Command::new("chmod").args(["-R", "u+w"]).arg(directory.path()).status();
}

/// The examples in one language, by name.
fn examples(language: &str, extension: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = files(&repository().join("examples").join(language), extension)
        .into_iter()
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path))
        .filter(|(name, _)| repository().join("tests/capi/expected").join(name).exists())
        .collect();
    found.sort();
    assert!(found.len() >= 5, "only {} examples in {language}", found.len());
    found
}

fn run_compiled(language: &str, extension: &str, flags: &[&str], wrap: impl Fn(&Path) -> Command) {
    let directory = scratch();
    for (name, source) in examples(language, extension) {
        let program = directory.path().join(&name);
        match compile(&source, &program, flags) {
            Ok(()) => check_example(wrap(&program), &name),
            Err(reason) => eprintln!("skipped: {name}: {reason}"),
        }
    }
}

#[test]
fn examples_in_c_and_cpp() {
    run_compiled("c", ".c", &[], |program| Command::new(program));
    run_compiled("cpp", ".cc", &[], |program| Command::new(program));
}

#[test]
fn examples_in_c_and_cpp_with_address_sanitizer() {
    // The handles' own memory stays reachable; leaks would be what the examples forgot.
    let flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
    run_compiled("c", ".c", &flags, |program| Command::new(program));
    run_compiled("cpp", ".cc", &flags, |program| Command::new(program));
}

#[test]
fn examples_in_c_and_cpp_under_valgrind() {
    if !has("valgrind") {
        eprintln!("skipped: valgrind is not installed");
        return;
    }
    let wrap = |program: &Path| {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]);
        // It notices by itself that the library changes stacks, and says so; that is no error.
        command.arg("--trace-children=no").arg(format!("--suppressions={}", repository().join("tests/capi/valgrind.supp").display()));
        command.arg(program);
        command
    };
    let directory = scratch();
    for (language, extension) in [("c", ".c"), ("cpp", ".cc")] {
        for (name, source) in examples(language, extension) {
            // Budgets of time and memory are not for a program that is a hundred times slower.
            if matches!(name.as_str(), "budget_and_cancel") {
                continue;
            }
            let program = directory.path().join(format!("{language}-{name}"));
            match compile(&source, &program, &[]) {
                Ok(()) => check_example(wrap(&program), &name),
                Err(reason) => eprintln!("skipped: {name}: {reason}"),
            }
        }
    }
}

fn run_scripts(language: &str, extension: &str, interpreter: &str, prepare: impl Fn(&mut Command)) {
    if !has(interpreter) {
        eprintln!("skipped: {interpreter} is not installed");
        return;
    }
    for (name, source) in examples(language, extension) {
        let mut command = Command::new(interpreter);
        command.arg(source.file_name().expect("a name")).current_dir(source.parent().expect("a directory"));
        command.env("NIXLANG_LIBRARY", PREFIX.join("lib/libnixlang.so.1")).env("NIXLANG_INCLUDE", PREFIX.join("include"));
        prepare(&mut command);
        check_example(command, &name);
    }
}

#[test]
fn examples_in_python() {
    run_scripts("python", ".py", "python3", |command| {
        command.env("PYTHONPATH", repository().join("ffi/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    });
}

#[test]
fn examples_in_lua() {
    run_scripts("lua", ".lua", "luajit", |_| {});
}

#[test]
fn examples_in_node() {
    let koffi = Command::new("node").args(["-e", "require('koffi')"]).output();
    if !koffi.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: node or its package koffi is not installed (set NODE_PATH to where it is)");
        return;
    }
    run_scripts("node", ".js", "node", |_| {});
}

#[test]
fn python_package_is_typed() {
    if !has("mypy") {
        eprintln!("skipped: mypy is not installed");
        return;
    }
    let cache = scratch();
    let output = Command::new("mypy").current_dir(repository().join("ffi/python")).args(["--strict", "--cache-dir"]).arg(cache.path()).arg("nixlang").output();
    let output = output.expect("mypy runs");
    assert!(output.status.success(), "{}", said(&output));
}

/// The same text through libnixlang and through a real libnixexprc, each in a process of its own.
#[test]
fn python_gets_the_same_from_a_real_library() {
    let Some(real) = std::env::var_os("NIX_REAL_LIBNIXEXPRC") else {
        eprintln!("skipped: NIX_REAL_LIBNIXEXPRC names no libnixexprc of the reference");
        return;
    };
    let script = "import nixlang.compat, sys\nnix = nixlang.compat.Nix(sys.argv[1])\nfor text in sys.stdin.read().split('\\n'):\n\
        \x20 try: print(nix.evaluate(text))\n  except nixlang.compat.NixApiError as failed: print(failed.code)\n";
    let texts = "1 + 1\n{ b = [ 1 2.5 ]; a = \"x${toString 3}\"; }\nthrow \"no\"\nx: x\nnull\n./y\n\"${builtins.toFile \"a\" \"b\"}\"\n1 +";
    let ours = PREFIX.join("lib/libnixlang.so.1").into_os_string();
    let answers = [&ours, &real].map(|library| {
        use std::io::Write;
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(library)
            .env("NIXLANG_LIBRARY", &ours)
            .env("PYTHONPATH", repository().join("ffi/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python runs");
        child.stdin.take().expect("piped").write_all(texts.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    });
    assert_eq!(String::from_utf8_lossy(&answers[0]), String::from_utf8_lossy(&answers[1]));
}

#[test]
fn python_evaluates_through_both_apis() {
    if !has("python3") {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let script = r#"
import nixlang, nixlang.compat
text = '{ a = 1 + 1; b = [ 1.5 true null "x" ./y ]; f = x: x; }'
nix = nixlang.compat.Nix()
assert nix.evaluate(text) == {"a": 2, "b": [1.5, True, None, "x", "/y"], "f": "function"}, nix.evaluate(text)
try:
    nix.evaluate("throw ''no''")
    raise SystemExit("it should have failed")
except nixlang.compat.NixApiError as failed:
    assert failed.code == -4 and "no" in str(failed), failed
nix.close()
engine = nixlang.Engine()
assert engine.evaluate("{ b = 2; a = [ 1 ]; }").python() == {"a": [1], "b": 2}
assert list(engine.evaluate("{ b = 2; a = [ 1 ]; }")) == ["a", "b"]
assert engine.value({"n": [None, True, 1, 2.5, "s"]}).python() == {"n": [None, True, 1, 2.5, "s"]}
assert engine.evaluate("{ x, y ? 1 }: x").formals == {"x": False, "y": True}
def fails(it): raise ValueError("mine")
engine.add_builtin("fails", fails)
try:
    engine.evaluate("fails 1")
    raise SystemExit("it should have failed")
except nixlang.NixError as failed:
    assert "ValueError: mine" in str(failed), failed
"#;
    let output = Command::new("python3")
        .args(["-c", script])
        .env("NIXLANG_LIBRARY", PREFIX.join("lib/libnixlang.so.1"))
        .env("PYTHONPATH", repository().join("ffi/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}", said(&output));
    let wheel = scratch();
    let built = Command::new("python3").arg(repository().join("ffi/python/build_wheel.py")).arg(PREFIX.join("lib/libnixlang.so.1")).arg(wheel.path()).output();
    let built = built.expect("python runs");
    assert!(built.status.success() && String::from_utf8_lossy(&built.stdout).trim_end().ends_with(".whl"), "{}", said(&built));
}

/// Runs a C program of `tests/capi/`.
fn run_c(name: &str, flags: &[&str]) {
    let directory = scratch();
    let program = directory.path().join(name);
    match compile(&repository().join(format!("tests/capi/{name}.c")), &program, flags) {
        Err(reason) => eprintln!("skipped: {reason}"),
        Ok(()) => {
            let output = Command::new(&program).arg(directory.path().join("store")).env("HOME", directory.path()).output().expect("it runs");
            assert!(output.status.success(), "{}", said(&output));
            let _ = Command::new("chmod").args(["-R", "u+w"]).arg(directory.path()).status();
        }
    }
}

#[test]
fn nix_c_api_functions_do_what_they_say() {
    run_c("nix_c_api", &["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]);
}

#[test]
fn nix_c_api_is_reached_through_the_references_names() {
    let pkg_config = has("pkg-config");
    if !pkg_config {
        eprintln!("skipped: pkg-config is not installed");
        return;
    }
    for name in ["nix-util-c", "nix-store-c", "nix-expr-c", "nix-fetchers-c", "nix-flake-c", "nix-main-c", "nixlang"] {
        let output = Command::new("pkg-config").env("PKG_CONFIG_PATH", PREFIX.join("lib/pkgconfig")).args(["--libs", "--cflags", name]).output().expect("it runs");
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
    for library in ["libnixutilc.so", "libnixexprc.so.2.34.8", "libnixstorec.so"] {
        assert!(PREFIX.join("lib").join(library).exists(), "{library}");
    }
}

/// A program of two lines, built in every way that the installed library offers.
const TINY_PROGRAM: &str = "#include <nixlang.h>\n#include <stdio.h>\nint main(void) { nixlang_engine *engine = NULL;\n\
    nixlang_error *error = nixlang_engine_new(NULL, &engine); nixlang_engine_free(engine);\n\
    puts(error ? \"failed\" : \"works\"); return error != NULL; }\n";

/// Runs a program and fails unless it says that it works. It may find the shared library only if its file names it.
fn check_works(program: &Path) {
    let output = Command::new(program).env_remove("LD_LIBRARY_PATH").output().expect("it runs");
    assert!(output.status.success() && output.stdout == b"works\n", "{}", said(&output));
    let needed = Command::new("readelf").arg("-d").arg(program).output().expect("readelf runs");
    let is_shared = String::from_utf8_lossy(&needed.stdout).contains("libnixlang.so.1");
    assert_eq!(is_shared, !program.ends_with("static"), "{}", program.display());
}

#[test]
fn programs_are_built_with_pkg_config_shared_and_static() {
    if !has("pkg-config") || !has("cc") {
        eprintln!("skipped: pkg-config or cc is not installed");
        return;
    }
    let directory = scratch();
    // A prefix that was moved works all the same.
    let moved = directory.path().join("moved");
    assert!(Command::new("cp").args(["-a"]).arg(&*PREFIX).arg(&moved).status().expect("cp runs").success());
    let source = directory.path().join("tiny.c");
    fs::write(&source, TINY_PROGRAM).expect("written");
    for (name, package) in [("shared", "nixlang"), ("static", "nixlang-static")] {
        let program = directory.path().join(name);
        let output = Command::new("pkg-config").env("PKG_CONFIG_PATH", moved.join("lib/pkgconfig")).args(["--libs", "--cflags", package]).output().expect("it runs");
        assert!(output.status.success(), "{}", said(&output));
        let flags = String::from_utf8(output.stdout).expect("flags");
        let rpath = format!("-Wl,-rpath,{}", moved.join("lib").display());
        let output = Command::new("cc").arg(&source).arg("-o").arg(&program).args(flags.split_whitespace()).arg(rpath).output().expect("cc runs");
        assert!(output.status.success(), "{package}: {}", said(&output));
        check_works(&program);
    }
}

#[test]
fn programs_are_built_with_cmake_shared_and_static() {
    if !has("cmake") || !has("cc") {
        eprintln!("skipped: cmake or cc is not installed");
        return;
    }
    let directory = scratch();
    fs::write(directory.path().join("tiny.c"), TINY_PROGRAM).expect("written");
    let project = "cmake_minimum_required(VERSION 3.10)\nproject(tiny C)\nfind_package(nixlang 0.1 REQUIRED)\n\
        add_executable(shared tiny.c)\ntarget_link_libraries(shared nixlang::nixlang)\n\
        add_executable(static tiny.c)\ntarget_link_libraries(static nixlang::static)\n";
    fs::write(directory.path().join("CMakeLists.txt"), project).expect("written");
    let build = directory.path().join("build");
    let run = |command: &mut Command| {
        let output = command.current_dir(directory.path()).output().expect("cmake runs");
        assert!(output.status.success(), "{}", said(&output));
    };
    run(Command::new("cmake").args(["-S", ".", "-B", "build"]).arg(format!("-DCMAKE_PREFIX_PATH={}", PREFIX.display())));
    run(Command::new("cmake").args(["--build", "build"]));
    check_works(&build.join("shared"));
    check_works(&build.join("static"));
    // A version that it is not is not found.
    fs::write(directory.path().join("CMakeLists.txt"), project.replace("nixlang 0.1", "nixlang 7")).expect("written");
    let output = Command::new("cmake").current_dir(directory.path()).args(["-S", ".", "-B", "other"]).arg(format!("-DCMAKE_PREFIX_PATH={}", PREFIX.display())).output();
    assert!(!output.expect("cmake runs").status.success(), "version 7 was found");
}

#[test]
fn a_real_libnixstore_in_the_process_is_refused() {
    if !has("cc") {
        eprintln!("skipped: cc is not installed");
        return;
    }
    let directory = scratch();
    let flags = [format!("-I{}", PREFIX.join("include").display()), format!("-I{}", PREFIX.join("include/nix").display())];
    let cc = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new("cc").args(&flags).args(arguments).output().expect("cc runs");
        assert!(output.status.success(), "{}", said(&output));
    };
    // A library that is the reference's as far as the dynamic linker can tell: the file's name, and a symbol that only that one has.
    let stand_in = directory.path().join("libnixstore.so");
    fs::write(directory.path().join("stand_in.c"), "int _ZTIN3nix5StoreE;\n").expect("written");
    cc(&["-shared".as_ref(), "-fPIC".as_ref(), "-o".as_ref(), stand_in.as_ref(), directory.path().join("stand_in.c").as_ref()]);
    let source = directory.path().join("both.c");
    fs::write(&source, include_str!("capi/two_libraries.c")).expect("written");
    let (program, lib) = (directory.path().join("both"), PREFIX.join("lib"));
    let (search, rpath) = (format!("-L{}", lib.display()), format!("-Wl,-rpath,{}", lib.display()));
    cc(&[source.as_ref(), "-o".as_ref(), program.as_ref(), search.as_ref(), "-lnixlang".as_ref(), "-ldl".as_ref(), rpath.as_ref()]);
    for (how, stand_in) in [("none", None), ("global", Some(&stand_in)), ("local", Some(&stand_in))] {
        let output = Command::new(&program).arg(how).args(stand_in).env("HOME", directory.path()).output().expect("it runs");
        assert!(output.status.success(), "{how}: {}", said(&output));
    }
}

#[test]
fn plugins_in_c_are_loaded() {
    let directory = scratch();
    let (source, plugin, program) = (repository().join("tests/capi/plugin.c"), directory.path().join("plugin.so"), directory.path().join("host"));
    match compile(&source, &plugin, &["-shared", "-fPIC"]).and_then(|()| compile(&source, &program, &["-DHOST"])) {
        Err(reason) => eprintln!("skipped: {reason}"),
        Ok(()) => {
            let output = Command::new(&program).arg(&plugin).env("HOME", directory.path()).output().expect("it runs");
            assert!(output.status.success(), "{}", said(&output));
        }
    }
}

#[test]
fn a_collector_of_the_host_waits_for_evaluations() {
    run_c("collector", &["-rdynamic"]);
}

#[test]
fn random_sequences_of_calls_break_nothing() {
    run_c("sequences", &["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]);
}

#[test]
fn stores_of_all_kinds_are_opened_filled_and_built_in() {
    let directory = scratch();
    let program = directory.path().join("stores");
    if let Err(reason) = compile(&repository().join("tests/capi/stores.c"), &program, &[]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let store = directory.path().join("stores.d");
    fs::create_dir(&store).expect("made");
    let mut command = Command::new(&program);
    command.arg(&store).env("HOME", directory.path()).env("NIX_CONFIG", "substituters =").env_remove("NIX_REMOTE");
    match nixlang_tests::nixlang() {
        [program] => {
            command.arg(program);
        }
        words => eprintln!("skipped: the daemon, because it is called by several words: {words:?}"),
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let _ = Command::new("chmod").args(["-R", "u+w"]).arg(directory.path()).status();
}

#[test]
fn cancelling_is_prompt_and_a_memory_budget_leaves_the_engine_usable() {
    run_c("limits", &[]);
}
