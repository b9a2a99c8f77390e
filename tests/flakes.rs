//! Flakes from outside: commands on small flakes, with all that they print and the lock files that they write.
//!
//! A file of `flakes/` is one scenario: `--- file PATH` begins a file's contents, `--- run WORDS` a command, below which stand its answer: lines of
//! standard output, those of standard error behind `! `, and `status N` unless that is 0. `--- show PATH` prints a file. The answers are those
//! of Nix 2.34.8: `UPDATE_EXPECT=1 NIXLANG='COMMAND nix'` writes them. `_` stands for a blank within a word, and `SCRATCH` for the directory that
//! all is in.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nixlang_tests::{Answer, command, files, repository, scratch};

/// One section of a scenario.
struct Section<'t> {
    word: &'t str,
    argument: &'t str,
    text: String,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("--- "), sections.last_mut()) {
            (Some(head), _) => {
                let (word, argument) = head.split_once(' ').unwrap_or((head, ""));
                sections.push(Section { word, argument, text: String::new() });
            }
            (None, Some(section)) => section.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    sections
}

/// Gives a file or directory, and all below, the time 1 000 000 000: lock files have it.
fn set_times(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it is a directory") {
            set_times(&entry.expect("it is read").path());
        }
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("the file is ours");
}

fn run(directory: &Path, words: &str) -> Answer {
    let home = directory.join("home");
    fs::create_dir_all(&home).expect("the directory is ours");
    let words = words.split(' ').map(|word| word.replace("SCRATCH", &directory.display().to_string()).replace('_', " "));
    let mut command = command(&directory.join("files"), words);
    command.env("HOME", &home).env("NIX_STORE_DIR", directory.join("store")).env("NIX_STATE_DIR", directory.join("var")).env("NIX_LOG_DIR", directory.join("log"));
    command.env("XDG_CACHE_HOME", home.join("cache")).env("XDG_CONFIG_HOME", home.join("config")).env("NIX_CONF_DIR", home.join("etc"));
    command.env("NIX_REMOTE", "").env("TMPDIR", directory).env("TZ", "UTC").env_remove("NIX_GET_COMPLETIONS");
    // Names let trees be the same wherever they are.
    let registry = Some(directory.join("files/registry.json")).filter(|path| path.exists());
    let registry = registry.map(|path| path.display().to_string()).unwrap_or_default();
    let settings = format!("experimental-features = nix-command flakes\nflake-registry = {registry}\nsubstitute = false\nsandbox = false\nbuild-users-group =\nsystem = x86_64-linux");
    command.env("NIX_CONFIG", settings);
    command.output().expect("it runs").into()
}

/// Takes out what differs from place to place.
fn plain(text: &str, directory: &Path) -> String {
    let text = text.replace(&directory.display().to_string(), "SCRATCH");
    let mut plain = String::new();
    let mut rest = text.as_str();
    // Hash parts of store paths follow from where the store is.
    while let Some((before, after)) = rest.split_once("SCRATCH/store/") {
        plain += before;
        plain += "STORE/";
        rest = after.get(33..).unwrap_or_default();
    }
    plain + rest
}

fn answer(answer: &Answer, directory: &Path) -> String {
    let mut text = plain(&answer.stdout, directory);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for line in plain(&answer.stderr, directory).lines() {
        // What is being done is said in other words.
        if !line.trim().is_empty() && !line.starts_with("evaluating ") && !line.starts_with("checking ") && !line.starts_with("Try '") {
            text += &format!("! {}\n", line.trim_end());
        }
    }
    match answer.status {
        Some(0) => text,
        status => format!("{text}status {}\n", status.unwrap_or(-1)),
    }
}

fn scenario(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).expect("scenarios are UTF-8");
    let head: String = text.lines().take_while(|line| !line.starts_with("--- ")).map(|line| format!("{line}\n")).collect();
    let scratch = scratch();
    let directory = scratch.path().canonicalize().expect("it is there");
    let root = directory.join("files");
    fs::create_dir_all(&root).expect("the directory is ours");
    let mut found = head;
    for Section { word, argument, text } in sections(&text) {
        let text = match word {
            "file" => {
                let file = root.join(argument);
                fs::create_dir_all(file.parent().expect("it is below the root")).expect("the directory is ours");
                fs::write(&file, text.replace("SCRATCH", &directory.display().to_string())).expect("the directory is ours");
                text
            }
            "run" => {
                set_times(&root);
                answer(&run(&directory, argument), &directory)
            }
            "show" => {
                let text = fs::read_to_string(root.join(argument)).unwrap_or_else(|error| error.to_string());
                plain(text.trim_end_matches('\n'), &directory) + "\n"
            }
            other => panic!("{}: what is '{other}'?", path.display()),
        };
        found += &format!("--- {word} {argument}\n{text}");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, found).expect("the repository is writable");
        return Ok(());
    }
    match found == text {
        true => Ok(()),
        false => Err(format!("{}:\n{}", path.display(), difference(&text, &found))),
    }
}

fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let first = expected.iter().zip(&found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
    let run = expected[..first].iter().rfind(|line| line.starts_with("--- ")).copied().unwrap_or_default();
    let line = |lines: &[&str]| lines[first..].iter().take(6).map(|line| format!("    {line}\n")).collect::<String>();
    format!("below '{run}', from line {}:\n  expected\n{}  found\n{}", first + 1, line(&expected), line(&found))
}

#[test]
fn flakes_answer_as_the_reference_does() {
    let paths = files(&repository().join("tests/flakes"), ".txt");
    assert!(paths.len() >= 5, "scenarios are missing");
    let wrong: Vec<String> = paths.iter().filter_map(|path| scenario(path).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
