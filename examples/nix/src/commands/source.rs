//! `definition`, `references`, `rename`, `doc`: questions about a place `FILE:LINE:COLUMN` in a source text. Nothing is evaluated.
//!
//! Lines and columns count from 1, columns in bytes, as in error messages; answers are places in the same notation, one a line.

use std::path::Path;

use nixlang::syntax::tree::{Parse, ParseOptions, TextRange, parse};
use nixlang::tools::documentation;
use nixlang::tools::names::{Meaning, Names, apply, rename as rename_in};

use super::Invocation;
use crate::failure::{Failure, Outcome, plain};

/// A place in a file that has been read.
struct Place {
    file: String,
    text: String,
    offset: u32,
}

impl Place {
    /// Reads `FILE:LINE:COLUMN`.
    fn parse(word: &str) -> Outcome<Place> {
        let wrong = || Failure::Usage(format!("'{word}' is not a place: expected FILE:LINE:COLUMN"));
        let mut parts = word.rsplitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).filter(|number| *number > 0);
        let (column, line) = (number().ok_or_else(wrong)?, number().ok_or_else(wrong)?);
        let file = parts.next().filter(|file| !file.is_empty()).ok_or_else(wrong)?.to_owned();
        let bytes = std::fs::read(&file).map_err(|error| Failure::new(format!("reading '{file}': {}", plain(&error))))?;
        let text = String::from_utf8(bytes).map_err(|error| Failure::new(format!("'{file}' is not UTF-8: byte {}", error.utf8_error().valid_up_to())))?;
        let start = match line {
            1 => Some(0),
            _ => text.match_indices('\n').nth(line - 2).map(|(at, _)| at + 1),
        };
        let start = start.ok_or_else(|| Failure::new(format!("'{file}' has no line {line}")))?;
        let length = text[start..].find('\n').unwrap_or(text.len() - start);
        if column - 1 > length {
            return Err(Failure::new(format!("line {line} of '{file}' has no column {column}")));
        }
        let offset = u32::try_from(start + column - 1).map_err(|_| Failure::new(format!("'{file}' is too long")))?;
        Ok(Place { file, text, offset })
    }

    fn tree(&self) -> Outcome<Parse> {
        parse(&self.text, ParseOptions::default()).map_err(|error| Failure::from_error(&error))
    }

    /// Returns where a range begins, in the notation of places.
    fn show(&self, range: TextRange) -> String {
        let before = &self.text[..range.start as usize];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{}:{line}:{column}", self.file)
    }
}

fn words(invocation: &mut Invocation, n_words: usize, usage: &str) -> Outcome<Vec<String>> {
    let words = invocation.words(|_, _| Ok(false))?;
    if words.len() == n_words { Ok(words) } else { Err(Failure::Usage(format!("usage: {usage}"))) }
}

pub(super) fn definition(mut invocation: Invocation) -> Outcome<u8> {
    let words = words(&mut invocation, 1, "definition FILE:LINE:COLUMN")?;
    let place = Place::parse(&words[0])?;
    let names = Names::of(&place.tree()?);
    if let Some(definition) = names.definition_at(place.offset) {
        for site in &definition.sites {
            println!("{}: {} '{}'", place.show(*site), definition.kind.word(), definition.name);
        }
        return Ok(0);
    }
    match names.use_at(place.offset).map(|it| (&it.name, &it.meaning)) {
        Some((name, Meaning::Global)) => println!("'{name}' is a global variable"),
        Some((name, Meaning::With(withs))) => {
            for with in withs {
                println!("{}: 'with' that may give '{name}'", place.show(*with));
            }
        }
        Some((name, _)) => return Err(Failure::new(format!("'{name}' is not defined"))),
        None => return Err(Failure::new("there is no variable here")),
    }
    Ok(0)
}

pub(super) fn references(mut invocation: Invocation) -> Outcome<u8> {
    let words = words(&mut invocation, 1, "references FILE:LINE:COLUMN")?;
    let place = Place::parse(&words[0])?;
    let names = Names::of(&place.tree()?);
    let Some(definition) = names.definition_at(place.offset) else {
        return Err(Failure::new("there is no variable here that this file defines"));
    };
    for range in names.references(definition) {
        println!("{}", place.show(range));
    }
    Ok(0)
}

pub(super) fn rename(mut invocation: Invocation) -> Outcome<u8> {
    let words = words(&mut invocation, 2, "rename FILE:LINE:COLUMN NAME")?;
    let place = Place::parse(&words[0])?;
    let edits = rename_in(&place.text, place.offset, &words[1]).map_err(|error| Failure::from_error(&error))?;
    replace_file(Path::new(&place.file), apply(&place.text, &edits).as_bytes())?;
    for edit in &edits {
        println!("{}", place.show(edit.range));
    }
    Ok(0)
}

pub(super) fn doc(mut invocation: Invocation) -> Outcome<u8> {
    let words = words(&mut invocation, 1, "doc FILE:LINE:COLUMN")?;
    let place = Place::parse(&words[0])?;
    let tree = place.tree()?;
    let names = Names::of(&tree);
    // Of what is defined here or meant here; otherwise of the function or attribute that begins here.
    let sites = names.definition_at(place.offset).map(|definition| definition.sites.clone()).unwrap_or_default();
    let offsets = std::iter::once(place.offset).chain(sites.iter().map(|site| site.start));
    let found = offsets.flat_map(|offset| [documentation::of_function(&place.text, offset), documentation::of_attribute(&place.text, offset)]);
    match found.flatten().next() {
        Some(text) => println!("{}", text.trim()),
        None => return Err(Failure::new("there is no documentation comment for this")),
    }
    Ok(0)
}

/// Replaces a file's contents, all or nothing; its permissions stay, and a link stays a link.
pub(super) fn replace_file(path: &Path, contents: &[u8]) -> Outcome<()> {
    let failed = |error: &std::io::Error| Failure::new(format!("writing '{}': {}", path.display(), plain(error)));
    let real = path.canonicalize().map_err(|error| failed(&error))?;
    let directory = real.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut file, contents).map_err(|error| failed(&error))?;
    let permissions = std::fs::metadata(&real).map_err(|error| failed(&error))?.permissions();
    file.as_file().set_permissions(permissions).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(&real).map_err(|error| failed(&error.error))?;
    Ok(())
}
