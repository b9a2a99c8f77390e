//! The order in which the reference's start-up interns names, after those of `eval/names.rs`.
//!
//! Sets are forced and compared in the order in which names were first interned, so it can be seen
//! which of two failing attributes is the first: `{ b = throw "b"; x = throw "x"; }` fails with
//! `x`, because the reference's own `derivation.nix` has a variable `x`.

use crate::symbol::SymbolTable;

/// The names, as the traces of a `deepSeq` of a set with all of them show their order (2.34.8 with
/// the experimental features that add builtins).
const NAMES: &[&str] = &[
    "builtins", "true", "false", "null", "__currentTime", "currentTime", "__currentSystem",
    "currentSystem", "__nixVersion", "nixVersion", "__storeDir", "storeDir", "__langVersion",
    "langVersion", "__traceVerbose", "traceVerbose", "nixPath", "scopedImport", "import",
    "__typeOf", "typeOf", "isNull", "__isFunction", "isFunction", "__isInt", "isInt", "__isFloat",
    "isFloat", "__isString", "isString", "__isBool", "isBool", "__isPath", "isPath",
    "__genericClosure", "genericClosure", "break", "abort", "throw", "__addErrorContext",
    "addErrorContext", "__ceil", "ceil", "__floor", "floor", "__tryEval", "tryEval", "__getEnv",
    "getEnv", "__seq", "seq", "__deepSeq", "deepSeq", "__trace", "trace", "__warn", "warn",
    "derivationStrict", "placeholder", "__toPath", "toPath", "__storePath", "storePath",
    "__pathExists", "pathExists", "baseNameOf", "dirOf", "__readFile", "readFile", "findFile",
    "__hashFile", "hashFile", "__readFileType", "readFileType", "__readDir", "readDir",
    "__outputOf", "outputOf", "__toXML", "toXML", "__toJSON", "toJSON", "__fromJSON", "fromJSON",
    "__toFile", "toFile", "__filterSource", "filterSource", "__path", "__attrNames", "attrNames",
    "__attrValues", "attrValues", "__getAttr", "getAttr", "__unsafeGetAttrPos", "unsafeGetAttrPos",
    "__hasAttr", "hasAttr", "__isAttrs", "isAttrs", "removeAttrs", "__listToAttrs", "listToAttrs",
    "__intersectAttrs", "intersectAttrs", "__catAttrs", "catAttrs", "__functionArgs",
    "functionArgs", "__mapAttrs", "mapAttrs", "__zipAttrsWith", "zipAttrsWith", "__isList",
    "isList", "__elemAt", "elemAt", "__head", "head", "__tail", "tail", "map", "__filter", "filter",
    "__elem", "elem", "__concatLists", "concatLists", "__length", "length", "__foldl'", "foldl'",
    "__any", "any", "__all", "all", "__genList", "genList", "__sort", "sort", "__partition",
    "partition", "__groupBy", "groupBy", "__concatMap", "concatMap", "__add", "add", "sub", "mul",
    "div", "__bitAnd", "bitAnd", "__bitOr", "bitOr", "__bitXor", "bitXor", "lessThan", "toString",
    "__substring", "substring", "__stringLength", "stringLength", "__hashString", "hashString",
    "__convertHash", "convertHash", "__match", "match", "__split", "split", "__concatStringsSep",
    "concatStringsSep", "__replaceStrings", "replaceStrings", "__parseDrvName", "parseDrvName",
    "__compareVersions", "compareVersions", "__splitVersion", "splitVersion",
    "__unsafeDiscardStringContext", "unsafeDiscardStringContext", "__hasContext", "hasContext",
    "__unsafeDiscardOutputDependency", "unsafeDiscardOutputDependency",
    "__addDrvOutputDependencies", "addDrvOutputDependencies", "__getContext", "getContext",
    "__appendContext", "appendContext", "__fetchClosure", "fetchClosure", "fetchMercurial",
    "fetchTree", "__fetchurl", "fetchurl", "fetchTarball", "fetchGit", "fromTOML", "__getFlake",
    "getFlake", "__parseFlakeRef", "parseFlakeRef", "__flakeRefToString", "flakeRefToString",
    "derivation", "strict", "drvAttrs", "commonAttrs", "outputsList", "x",
    "outputToAttrListElement",
];

/// Interns the names.
pub(super) fn intern(symbols: &SymbolTable<'_>) {
    for name in NAMES {
        symbols.intern(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use crate::eval::{EvalOptions, Evaluator};
    use crate::heap::Heap;
    use crate::host::MemoryHost;
    use crate::source::Origin;

    #[test]
    fn names_of_the_start_up_come_first() {
        for (names, first) in [
            (["b", "x"], "x"),
            (["strict", "all"], "all"),
            (["x", "strict"], "strict"),
            (["type", "all"], "type"),
            (["map", "filter"], "map"),
            (["zz", "aa"], "zz"),
        ] {
            let heap = Heap::new();
            let host = Box::new(MemoryHost::default());
            let eval = Evaluator::new(&heap, host, EvalOptions::default());
            let [a, b] = names;
            let source = format!("{{ {a} = throw \"{a}\"; {b} = throw \"{b}\"; }}");
            let value = eval.eval_text(source.as_bytes(), Origin::String, b"/").expect("a set");
            let error = eval.force_deep(value).expect_err("both fail");
            assert_eq!(error.to_string(), first);
        }
    }
}
