//! Listings of trees, as `store ls` and `nar ls` print them.

use nixlang_store::nar::Listing;

use crate::failure::{Failure, Outcome};

/// How to list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListFlags {
    long: bool,
    recursive: bool,
    directory: bool,
    json: bool,
}

impl ListFlags {
    /// Handles a flag. Returns false if it is none of these.
    pub(super) fn flag(&mut self, flag: &str) -> bool {
        match flag {
            "-l" | "--long" => self.long = true,
            "-R" | "--recursive" => self.recursive = true,
            "-d" | "--directory" => self.directory = true,
            "--json" => self.json = true,
            _ => return false,
        }
        true
    }
}

/// Prints what is at `path` in a tree. The path is for people to read if nothing is there.
pub(super) fn print_listing(tree: &Listing, path: &str, flags: ListFlags, offsets: bool) -> Outcome<u8> {
    let missing = || Failure::new(format!("path '{}' does not exist", if path.is_empty() { "/" } else { path }));
    let node = tree.find(path.as_bytes()).ok_or_else(missing)?;
    if flags.json {
        if flags.directory {
            return Err(Failure::Usage("'--directory' is useless with '--json'".into()));
        }
        let mut node = node.clone();
        if !offsets {
            node.forget_offsets();
        }
        let mut json = node.to_json().map_err(|error| Failure::from_error(&error))?;
        if !flags.recursive && let Some(entries) = json.get_mut("entries").and_then(|entries| entries.as_object_mut()) {
            entries.values_mut().for_each(|entry| *entry = serde_json::json!({}));
        }
        println!("{}", nixlang_store::json::to_string(&json));
        return Ok(0);
    }
    let is_directory = matches!(node, Listing::Directory(_));
    let name = if is_directory { "." } else { path.trim_end_matches('/').rsplit('/').next().unwrap_or("") };
    // What is still to be printed, last first, and whether it is shown itself.
    let mut stack = vec![(name.to_owned(), node, flags.directory || !is_directory)];
    let mut is_first = true;
    while let Some((shown, node, itself)) = stack.pop() {
        if itself {
            println!("{}", line(&shown, node, flags.long));
        }
        if let Listing::Directory(entries) = node
            && (flags.recursive || (is_first && !itself))
        {
            for (name, entry) in entries.iter().rev() {
                stack.push((format!("{shown}/{}", String::from_utf8_lossy(name)), entry, true));
            }
        }
        is_first = false;
    }
    Ok(0)
}

fn line(shown: &str, node: &Listing, long: bool) -> String {
    if !long {
        return shown.to_owned();
    }
    let (mode, size) = match node {
        Listing::Directory(_) => ("dr-xr-xr-x", 0),
        Listing::Symlink(_) => ("lrwxrwxrwx", 0),
        Listing::Regular { executable: true, size, .. } => ("-r-xr-xr-x", *size),
        Listing::Regular { size, .. } => ("-r--r--r--", *size),
    };
    let mut line = format!("{mode} {size:>20} {shown}");
    if let Listing::Symlink(target) = node {
        line.push_str(&format!(" -> {}", String::from_utf8_lossy(target)));
    }
    line
}
