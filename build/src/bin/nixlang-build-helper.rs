//! The helper process as a program of its own, for hosts that can't be executed anew (scripting languages).

fn main() {
    nixlang_build::helper_main();
    eprintln!("this program is started by libraries that build derivations; it does nothing by itself");
    std::process::exit(1);
}
