//! Files: reading them, importing them, and putting them into the store.

use std::collections::BTreeSet;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::path::StorePath;

use super::Definition;
use super::attrs::required;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Str, Value};
use crate::host::{FileType, WantedOutput};
use crate::lower::StaticScope;
use crate::path;
use crate::source::Pos;
use crate::value::{Context, ContextKind};

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("import", &["path"], import).strict(1).global().doc("Returns the value of the file *path* (of a directory: its `default.nix`)."),
    Definition::new("scopedImport", &["scope", "path"], scoped_import).global().doc("As `import`, with the attributes of *scope* as variables."),
    Definition::new("readFile", &["path"], read_file).strict(1).doc("Returns the contents of a file."),
    Definition::new("readDir", &["path"], read_dir).strict(1).doc("Returns a set of the entries of a directory, each with its type."),
    Definition::new("readFileType", &["p"], read_file_type).strict(1).doc("Returns `\"regular\"`, `\"directory\"`, `\"symlink\"` or `\"unknown\"`."),
    Definition::new("pathExists", &["path"], path_exists).strict(1).doc("Returns whether there is something at *path*."),
    Definition::new("findFile", &["search-path", "lookup-path"], find_file).doc("Looks up a path in a search path, as `<…>` does."),
    Definition::new("toPath", &["s"], to_path).strict(1).doc("Returns an absolute path as a string in canonical form."),
    Definition::new("baseNameOf", &["x"], base_name_of).strict(1).global().doc("Returns what follows the last slash."),
    Definition::new("dirOf", &["s"], dir_of).strict(1).global().doc("Returns what comes before the last slash."),
    Definition::new("storePath", &["path"], store_path).strict(1).doc("Returns a string that refers to the store path *path*."),
    Definition::new("toFile", &["name", "s"], to_file).strict(1).doc("Writes the string *s* to the store and returns its path."),
    Definition::new("filterSource", &["e1", "e2"], filter_source).doc("Copies the directory *e2* to the store, but for what the function *e1* refuses."),
    Definition::new("path", &["args"], path_).strict(1).doc("Copies a path to the store, under a name, through a filter, or checked against a hash."),
    Definition::new("getEnv", &["s"], get_env).strict(1).doc("Returns an environment variable, empty if it isn't set (and in pure evaluation)."),
];

/// Makes sure that what a context refers to is there: builds the outputs in it. Returns what to put for the placeholders of outputs without a known path.
pub(crate) fn realise_context<'h>(eval: &Evaluator<'h>, context: Option<&'h Context<'h>>) -> EvalResult<Vec<(String, String)>> {
    let Some(context) = context else { return Ok(Vec::new()) };
    let store_dir = eval.host.store_dir();
    let mut wanted = Vec::new();
    for element in context.elements {
        if eval.contexts.path_text(element).contains('^') {
            let shown = eval.show_context_element(element);
            let message = format!("cannot build '{shown}' during evaluation: outputs of derivations that are built are not supported there yet");
            return Err(EvalError::new(ErrorKind::Unsupported, message));
        }
        let path = store_dir.parse(eval.contexts.path_text(element)).map_err(|e| EvalError::new(ErrorKind::Host, e.to_string()))?;
        match element.kind {
            ContextKind::Output => wanted.push(WantedOutput { derivation: path, output: eval.contexts.output_text(element).to_string() }),
            _ => eval.host.ensure_path(&path).map_err(|e| eval.host_error(e))?,
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let paths = eval.realise(&wanted)?;
    Ok(wanted
        .iter()
        .zip(paths)
        .map(|(wanted, path)| {
            let placeholder = nixlang_store::derivation::Placeholder::content_addressed_output(&wanted.derivation, &wanted.output);
            (placeholder.to_string(), store_dir.display(&path))
        })
        .collect())
}

fn rewrite(text: &[u8], rewrites: &[(String, String)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (from, to) in rewrites {
        let finder = memchr::memmem::Finder::new(from.as_bytes());
        if finder.find(&text).is_some() {
            let mut replaced = Vec::with_capacity(text.len());
            let mut rest = &text[..];
            while let Some(at) = finder.find(rest) {
                replaced.extend_from_slice(&rest[..at]);
                replaced.extend_from_slice(to.as_bytes());
                rest = &rest[at + from.len()..];
            }
            replaced.extend_from_slice(rest);
            text = replaced;
        }
    }
    text
}

/// Coerces a value to a path and builds what it refers to.
pub(crate) fn realise_path<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos) -> EvalResult<Vec<u8>> {
    let (path, context) = eval.coerce_to_path(value, Pos::NONE, "while realising the context of a path")?;
    if context.is_none() {
        return Ok(path.to_vec());
    }
    let rewrites = realise_context(eval, context)
        .map_err(|e| e.while_(pos, format!("while realising the context of path '{}'", String::from_utf8_lossy(path))))?;
    Ok(rewrite(path, &rewrites))
}

fn import<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let path = realise_path(eval, args[0], pos)?;
    match derivation_value(eval, &path)? {
        Some(value) => Ok(value),
        None => eval.import(&path),
    }
}

/// Importing a `.drv` file gives the derivation as a set.
fn derivation_value<'h>(eval: &Evaluator<'h>, file: &[u8]) -> EvalResult<Option<Value<'h>>> {
    if !file.ends_with(b".drv") {
        return Ok(None);
    }
    let store_dir = eval.host.store_dir();
    let Ok(drv_path) = store_dir.parse(file) else { return Ok(None) };
    let derivation = eval.host.read_derivation(&drv_path).map_err(|e| eval.host_error(e))?;
    let text = String::from_utf8_lossy(file);
    let context = eval.contexts.context(vec![eval.contexts.deep(&text)]);
    let drv_path_value = Value::string(eval.heap.str_from_parts(&[file], context));
    let env_name = derivation.env.get(&b"name"[..]).map_or(derivation.name.as_bytes(), |name| name);
    let outputs = derivation.outputs.keys().map(|name| eval.heap.string(name.as_bytes()));
    let mut attributes = vec![
        (eval.names.drv_path, drv_path_value),
        (eval.names.name, eval.heap.string(env_name)),
        (eval.names.outputs, Value::list(eval.heap.list(outputs))),
    ];
    for (name, output) in &derivation.outputs {
        let path = output.path(store_dir, &derivation.name, name).map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()))?;
        let path = match path {
            Some(path) => store_dir.display(&path),
            None => nixlang_store::derivation::Placeholder::content_addressed_output(&drv_path, name).to_string(),
        };
        let context = eval.contexts.context(vec![eval.contexts.output(&text, name)]);
        attributes.push((eval.symbols.intern(name.as_bytes()), Value::string(eval.heap.str_from_parts(&[path.as_bytes()], context))));
    }
    let function = eval.import(crate::host::internal::IMPORTED_DERIVATION)?;
    let attributes = eval.attrs_of(attributes);
    eval.call(function, &[attributes], Pos::NONE).map(Some)
}

fn scoped_import<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let path = realise_path(eval, args[1], pos)?;
    let scope = eval.force_attrs(args[0], pos, "while evaluating the first argument passed to builtins.scopedImport")?.flat(eval.heap);
    let env = eval.heap.env(eval.root(), scope.slots.len());
    for (i, entry) in scope.iter().enumerate() {
        env.slot(i as u32).set(entry.slot.get());
    }
    let names = scope.iter().map(|entry| entry.symbol).collect();
    let file = eval.resolve_expr_path(&path)?;
    eval.eval_file_in(&file, &StaticScope { names }, env)
}

fn read_file<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let file = realise_path(eval, args[0], pos)?;
    let contents = eval.host.read_file(&file).map_err(|e| eval.host_error(e))?;
    if contents.contains(&0) {
        let message = format!("the contents of the file '{}' cannot be represented as a Nix string", String::from_utf8_lossy(&file));
        return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
    }
    let context = references_in(eval, &file, &contents);
    Ok(Value::string(eval.heap.str_from_parts(&[&contents], context)))
}

/// A file in the store refers to those references of its store object that occur in it.
fn references_in<'h>(eval: &Evaluator<'h>, file: &[u8], contents: &[u8]) -> Option<&'h Context<'h>> {
    let store_dir = eval.host.store_dir();
    if !store_dir.is_in_store(file) {
        return None;
    }
    let text = std::str::from_utf8(file).ok()?;
    let (object, _) = store_dir.split_store_path(text).ok()?;
    let references = eval.host.references(&object).ok()?;
    let found = references.into_iter().filter(|path| memchr::memmem::find(contents, path.hash_text().as_bytes()).is_some());
    eval.contexts.context(found.map(|path| eval.contexts.opaque(&store_dir.display(&path))).collect())
}

fn read_dir<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let directory = realise_path(eval, args[0], pos)?;
    let directory = eval.resolve_links(&directory)?;
    let mut entries = eval.host.read_dir(&directory).map_err(|e| eval.host_error(e))?;
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let attributes: Vec<_> = entries
        .into_iter()
        .map(|(name, file_type)| {
            let value = match file_type {
                Some(file_type) => Value::string(eval.symbols.str(eval.symbols.intern(file_type.name().as_bytes()))),
                None => eval.heap.thunk_lazy(crate::value::Lazy::FileType(eval.heap.str(&path::join(&directory, &name)))),
            };
            (eval.symbols.intern(&name), value)
        })
        .collect();
    Ok(eval.attrs_of(attributes))
}

fn read_file_type<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let file = realise_path(eval, args[0], pos)?;
    super::file_type_value(eval, &eval.resolve_parent(&file)?)
}

fn path_exists<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let value = eval.force_at(args[0], pos)?;
    let must_be_directory = matches!(value.kind(), Kind::String(s) if s.bytes().ends_with(b"/") || s.bytes().ends_with(b"/."));
    let found = realise_path(eval, value, pos).and_then(|file| {
        let file = if must_be_directory { eval.resolve_links(&file)? } else { eval.resolve_parent(&file)? };
        eval.file_type(&file)
    });
    match found {
        Ok(Some(file_type)) => Ok(Value::bool(!must_be_directory || file_type == FileType::Directory)),
        Ok(None) => Ok(Value::FALSE),
        Err(error) if error.kind() == ErrorKind::Restricted => Ok(Value::FALSE),
        Err(error) => Err(error),
    }
}

fn find_file<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let list = eval.force_list(args[0], pos, "while evaluating the first argument passed to builtins.findFile")?;
    let mut search_path = Vec::with_capacity(list.len());
    for element in list.iter() {
        let attrs = eval.force_attrs(element, pos, "while evaluating an element of the list passed to builtins.findFile")?;
        let prefix = match attrs.get(eval.names.prefix) {
            Some(slot) => {
                let context = "while evaluating the `prefix` attribute of an element of the list passed to builtins.findFile";
                eval.force_string_no_context(slot.get(), pos, context)?.bytes().to_vec()
            }
            None => Vec::new(),
        };
        let entry = required(eval, attrs, eval.names.path, "in an element of the __nixPath")?;
        let context = "while evaluating the `path` attribute of an element of the list passed to builtins.findFile";
        let path = eval.coerce_to_string(entry.slot.get(), pos, Coercion::PATH_SEGMENT, context)?;
        let rewrites = realise_context(eval, path.context())?;
        search_path.push((prefix, rewrite(path.bytes(), &rewrites)));
    }
    let name = eval.force_string_no_context(args[1], pos, "while evaluating the second argument passed to builtins.findFile")?;
    Ok(eval.heap.path(&eval.find_file(&search_path, name.bytes(), pos)?))
}

fn to_path<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let (path, context) = eval.coerce_to_path(args[0], pos, "while evaluating the first argument passed to builtins.toPath")?;
    Ok(Value::string(eval.heap.str_from_parts(&[path], context)))
}

fn base_name_of<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let string = eval.coerce_to_string(args[0], pos, Coercion::PATH_SEGMENT, "while evaluating the first argument passed to builtins.baseNameOf")?;
    let bytes = string.bytes();
    // Exactly one slash at the end is dropped.
    let end = if bytes.len() > 1 && bytes.ends_with(b"/") { bytes.len() - 1 } else { bytes.len() };
    let start = bytes[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    Ok(Value::string(eval.heap.str_from_parts(&[&bytes[start..end]], string.context())))
}

fn dir_of<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let value = eval.force_at(args[0], pos)?;
    if let Kind::Path(path) = value.kind() {
        return Ok(eval.heap.path(path::parent(path.text.bytes())));
    }
    let string = eval.coerce_to_string(value, pos, Coercion::PATH_SEGMENT, "while evaluating the first argument passed to 'builtins.dirOf'")?;
    let directory = match string.bytes().iter().rposition(|byte| *byte == b'/') {
        None => &b"."[..],
        Some(0) => &b"/"[..],
        Some(slash) => &string.bytes()[..slash],
    };
    Ok(Value::string(eval.heap.str_from_parts(&[directory], string.context())))
}

fn store_path<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    if eval.options.pure {
        return Err(EvalError::new(ErrorKind::Restricted, "'builtins.storePath' is not allowed in pure evaluation mode").at(pos));
    }
    let (path, context) = eval.coerce_to_path(args[0], pos, "while evaluating the first argument passed to 'builtins.storePath'")?;
    let store_dir = eval.host.store_dir();
    let mut path = path.to_vec();
    if store_dir.parse(&path).is_err() {
        path = eval.resolve_links(&path)?;
    }
    let text = String::from_utf8_lossy(&path).into_owned();
    let Ok((object, _)) = store_dir.split_store_path(&text) else {
        return Err(EvalError::new(ErrorKind::Evaluation, format!("path '{text}' is not in the Nix store")).at(pos));
    };
    if eval.options.read_write {
        eval.host.ensure_path(&object).map_err(|e| eval.host_error(e))?;
    }
    let own = eval.contexts.context(vec![eval.contexts.opaque(&store_dir.display(&object))]);
    Ok(Value::string(eval.heap.str_from_parts(&[&path], eval.contexts.union(context, own))))
}

/// Returns a store path as a string that refers to it.
pub(super) fn store_path_string<'h>(eval: &Evaluator<'h>, path: &StorePath) -> Str<'h> {
    let text = eval.host.store_dir().display(path);
    let context = eval.contexts.context(vec![eval.contexts.opaque(&text)]);
    eval.heap.str_from_parts(&[text.as_bytes()], context)
}

fn to_file<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.toFile")?;
    let contents = eval.force_string(args[1], pos, "while evaluating the second argument passed to builtins.toFile")?;
    let name = String::from_utf8_lossy(name.bytes());
    let mut references = BTreeSet::new();
    for element in contents.context().map_or(&[][..], |context| context.elements) {
        let path = eval.contexts.path_text(element);
        if element.kind != ContextKind::Opaque {
            let path = path.rsplit('/').next().unwrap_or_default();
            let shown = match element.kind {
                ContextKind::Output => format!("!{}!{path}", eval.contexts.output_text(element)),
                _ => format!("={path}"),
            };
            let message = format!("files created by builtins.toFile may not reference derivations, but {name} references {shown}");
            return Err(EvalError::new(ErrorKind::Evaluation, message).at(pos));
        }
        references.insert(eval.host.store_dir().parse(path).map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()))?);
    }
    let path = eval.host.add_text(&name, contents.bytes(), &references).map_err(|e| eval.host_error(e))?;
    Ok(Value::string(store_path_string(eval, &path)))
}

/// How a source is put into the store.
struct AddPath<'a, 'h> {
    path: &'a [u8],
    context: Option<&'h Context<'h>>,
    name: &'a str,
    filter: Option<Value<'h>>,
    method: ContentAddressMethod,
    expected: Option<Hash>,
}

fn add_path<'h>(eval: &Evaluator<'h>, add: AddPath<'_, 'h>, pos: Pos) -> EvalResult<Value<'h>> {
    let result: EvalResult<Value<'h>> = (|| {
        let rewrites = realise_context(eval, add.context)?;
        let path = rewrite(add.path, &rewrites);
        // What comes out of a store object that was built keeps the references of the whole object.
        let store_dir = eval.host.store_dir();
        let mut references = BTreeSet::new();
        if add.context.is_some()
            && let Ok((object, _)) = store_dir.split_store_path(String::from_utf8_lossy(&path).as_ref())
        {
            references = eval.host.references(&object).unwrap_or_default();
        }
        let path = eval.resolve_links(&path)?;
        // What is there already under the hash that it must have need not be read.
        if let Some(hash) = add.expected {
            let content = nixlang_store::content_address::ContentAddressWithReferences {
                method: add.method,
                hash,
                references: references.clone(),
                self_reference: false,
            };
            let expected = eval.host.store_dir().fixed_output_path(add.name, &content);
            let expected = expected.map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()))?;
            if eval.host.is_valid(&expected) {
                return Ok(Value::string(store_path_string(eval, &expected)));
            }
        }
        let mut filter = |path: &[u8], file_type: FileType| {
            let Some(function) = add.filter else { return Ok(true) };
            let arguments = [eval.heap.string(path), eval.heap.string(file_type.name().as_bytes())];
            let keep = eval.call(function, &arguments, pos)?;
            eval.force_bool(keep, pos, "while evaluating the return value of the path filter function")
        };
        let added = eval.add_source_with_references(&path, add.name, add.method, add.expected, &references, &mut filter)?;
        Ok(Value::string(store_path_string(eval, &added)))
    })();
    result.map_err(|e| e.while_(pos, format!("while adding path '{}'", String::from_utf8_lossy(add.path))))
}

fn filter_source<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let context = "while evaluating the second argument (the path to filter) passed to 'builtins.filterSource'";
    let (path, context) = eval.coerce_to_path(args[1], pos, context)?;
    let filter = eval.force_function(args[0], pos, "while evaluating the first argument passed to builtins.filterSource")?;
    let name = String::from_utf8_lossy(path::base_name(path));
    add_path(eval, AddPath { path, context, name: &name, filter: Some(filter), method: ContentAddressMethod::Nar, expected: None }, pos)
}

fn path_<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the argument passed to 'builtins.path'")?;
    let (mut path, mut context): (Option<&[u8]>, Option<&Context<'h>>) = (None, None);
    let (mut name, mut filter, mut expected) = (String::new(), None, None);
    let mut method = ContentAddressMethod::Nar;
    for entry in attrs.flat(eval.heap).iter() {
        let value = entry.slot.get();
        match eval.symbols.text(entry.symbol) {
            b"path" => {
                let (text, references) = eval.coerce_to_path(value, entry.pos, "while evaluating the 'path' attribute passed to 'builtins.path'")?;
                (path, context) = (Some(text), references);
            }
            b"name" => {
                let text = eval.force_string_no_context(value, entry.pos, "while evaluating the `name` attribute passed to builtins.path")?;
                name = String::from_utf8_lossy(text.bytes()).into_owned();
            }
            b"filter" => filter = Some(eval.force_function(value, entry.pos, "while evaluating the `filter` parameter passed to builtins.path")?),
            b"recursive" => {
                let recursive = eval.force_bool(value, entry.pos, "while evaluating the `recursive` attribute passed to builtins.path")?;
                method = if recursive { ContentAddressMethod::Nar } else { ContentAddressMethod::Flat };
            }
            b"sha256" => {
                let text = eval.force_string_no_context(value, entry.pos, "while evaluating the `sha256` attribute passed to builtins.path")?;
                let text = String::from_utf8_lossy(text.bytes());
                let hash = if text.is_empty() { Ok(Hash::zero(Algorithm::Sha256)) } else { Hash::parse(&text, Some(Algorithm::Sha256)) };
                expected = Some(hash.map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()).at(entry.pos))?);
            }
            other => {
                let message = format!("unsupported argument '{}' to 'builtins.path'", String::from_utf8_lossy(other));
                return Err(EvalError::new(ErrorKind::Evaluation, message).at(entry.pos));
            }
        }
    }
    let Some(path) = path else {
        return Err(EvalError::new(ErrorKind::Evaluation, "missing required 'path' attribute in the first argument to 'builtins.path'").at(pos));
    };
    if name.is_empty() {
        name = String::from_utf8_lossy(path::base_name(path)).into_owned();
    }
    add_path(eval, AddPath { path, context, name: &name, filter, method, expected }, pos)
}

fn get_env<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let name = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.getEnv")?;
    let value = if eval.options.pure { None } else { eval.host.env_var(name.bytes()) };
    Ok(eval.heap.string(&value.unwrap_or_default()))
}
