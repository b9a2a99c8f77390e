//! `compareVersions`, `splitVersion`, `parseDrvName`.

use super::Definition;
use crate::eval::{EvalResult, Evaluator};
use crate::heap::Value;
use crate::source::Pos;
use crate::text::versions;

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("compareVersions", &["s1", "s2"], compare_versions)
        .strict(1)
        .doc("Returns -1 if version *s1* is older than version *s2*, 0 if they are the same, 1 if *s1* is newer."),
    Definition::new("splitVersion", &["s"], split_version).strict(1).doc("Returns the components of a version, as `compareVersions` sees them."),
    Definition::new("parseDrvName", &["s"], parse_drv_name)
        .strict(1)
        .doc("Splits a derivation name at the first dash that no letter follows. Returns `{ name, version }`."),
];

fn compare_versions<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let left = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.compareVersions")?;
    let right = eval.force_string_no_context(args[1], pos, "while evaluating the second argument passed to builtins.compareVersions")?;
    Ok(eval.heap.int(versions::compare(left.bytes(), right.bytes()) as i64))
}

fn split_version<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let version = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.splitVersion")?;
    let components: Vec<_> = versions::components(version.bytes()).map(|it| eval.heap.string(it)).collect();
    Ok(Value::list(eval.heap.list(components)))
}

fn parse_drv_name<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let whole = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.parseDrvName")?;
    let (name, version) = versions::split_name(whole.bytes());
    Ok(eval.attrs_of([(eval.names.name, eval.heap.string(name)), (eval.symbols.intern(b"version"), eval.heap.string(version))]))
}
